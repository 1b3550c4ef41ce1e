"""vitrail study head | positions | optimizer | shape | patch | masked-patch SOURCE: one part is exchanged, no other."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from vitrail.cli.numbers import Count, Shares
from vitrail.cli.studying import DEFAULTS, StudyOptions, to_the_end

if TYPE_CHECKING:
    from vitrail.studies.question import Question

PARAMETERS = """

    Stopped by Ctrl-C or worse, the same command goes on; several of them at once share the work.

    Parameters
    ----------
    source
        Labeled images in any form that `vitrail train` takes.
    model
        The model to change, such as S/16; what the default recipe chooses without, and for `optimizer` a small ResNet.
    rates
        Learning rates to try for each variant, as multiples of the recipe's own, such as 1/9 1/3 1 3; validation
        chooses. 1/3, 1 and 3 times for `head` and `optimizer`, else the recipe's own for all.
    seeds
        Runs of each variant at its rate.
    """


def verb(name: str, words: str) -> Callable[..., int]:
    """The command of an ablation; `words` are its help."""
    def command(
        source: str, /, *,
        model: str | None = None,
        rates: Shares = (),
        seeds: Count = 3,
        options: StudyOptions = DEFAULTS,
    ) -> int:
        def asked() -> Question:
            from vitrail.data.source import open_source
            from vitrail.studies.ablations import ABLATIONS, AblationStudy
            from vitrail.studies.ablations.plan import plan

            return AblationStudy(plan(ABLATIONS[name], open_source(source), model=model, factors=rates, seeds=seeds,
                                      changes=options.changes))

        return to_the_end(asked, options)

    command.__name__, command.__doc__ = name, words + PARAMETERS
    return command


WORDS = {
    "head": """Class token or mean pooling? Each at the rate that suits it, and both at one (paper: Figure 9).

        vitrail study head photos/ --time 30m

        vitrail study head photos/ --model S/16 --rates 1/9 1/3 1 3""",
    "positions": """Does it need to know where patches lie, and how is it told? All eight of Table 8.

        vitrail study positions photos/ --time 1h""",
    "optimizer": """Adam or SGD with momentum, each at the rate that suits it (paper: Table 7, on ResNets)?

        vitrail study optimizer photos/

        vitrail study optimizer photos/ --model R50x1 --rates 1/9 1/3 1 3""",
    "shape": """More layers, more width, a wider MLP or smaller patches: what pays for its compute (Figure 8)?

        vitrail study shape photos/ --model Ti/8""",
    "patch": """What do smaller patches bring, and what do they cost (paper: Figure 8)?

        vitrail study patch photos/ --seeds 5""",
    "masked-patch": """Which patches should be guessed without labels, and how many of them (appendix
    B.1.2)? What the frozen features are worth, beside those of the untrained model.

        vitrail study masked-patch photos/ --set schedule.steps=2000""",
}

VERBS = {name: verb(name, words) for name, words in WORDS.items()}
