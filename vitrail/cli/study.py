"""vitrail study QUESTION SOURCE: every question by a command of its own, with what they take alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Group, Parameter

from vitrail.cli.ablations import VERBS
from vitrail.cli.numbers import Accuracy, Count, Counts
from vitrail.cli.studying import DEFAULTS, StudyOptions, to_the_end

if TYPE_CHECKING:
    from vitrail.studies.question import Question

study = App(
    name="study",
    group_commands=Group("Questions"),
    help="How much data do I need, how much compute, and which model? Trains what it takes to know, and answers in "
         "sentences with intervals.",
)


@study.command(name="data")
def data(
    source: str, /, *,
    models: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative=())] = (),
    weights: Annotated[str | None, Parameter(alias="-w")] = None,
    target: Accuracy | None = None,
    at: Counts = (),
    force: Annotated[bool, Parameter(negative=())] = False,
    upto: Count | None = None,
    rule: str = "recipe",
    length: str | None = None,
    sizes: Count | None = None,
    seeds: Count = 3,
    options: StudyOptions = DEFAULTS,
) -> int:
    """How much data do I need? Train on parts of it, and say how it goes on, with intervals.

        vitrail study data photos/ --time 30m --target 0.94

        vitrail study data photos/ --models vit resnet hybrid

        vitrail study data photos/ --weights hf:google/vit-base-patch16-224

    Stopped by Ctrl-C or worse, the same command goes on; several of them at once share the work.

    Parameters
    ----------
    source
        Labeled images in any form that `vitrail train` takes.
    models
        Models to compare, such as S/16 R50x1 R50+S/16. vit resnet hybrid are three of like cost that suit the images;
        half:NAME is half as wide (the paper's ViT-b), and half alone of what the default recipe chooses, which is the
        model without.
    weights
        Trained weights that every run starts from; from scratch without.
    target
        An accuracy, as 0.94 or 94%: how many more images would it need? The next whole percent without.
    at
        Numbers of images: how good would it be with so many?
    force
        Answer --at beyond ten times the largest size, too, where no number means much.
    upto
        Train on no more than so many: would what follows have been foretold? With --at.
    rule
        recipe (each size as long as the default recipe trains it), epochs (the same at every size) or steps (the same).
    length
        All runs for this share of what the rule gives, from 1/1000 to 1000. The whole of it without; with --time, so
        much of it that every size fits.
    sizes
        How many sizes, each half of the next; seven without, or as many as there can be.
    seeds
        Runs at the two smallest and the two largest sizes; one at the others.
    """
    def asked() -> Question:
        from vitrail.data.source import open_source
        from vitrail.studies.data_size import DataSize
        from vitrail.studies.data_size.answers import refuse_target
        from vitrail.studies.data_size.budget import within
        from vitrail.studies.data_size.plan import plan
        from vitrail.studies.ledger import Ledger
        from vitrail.studies.recipes_of import read_length

        refuse_target(target)
        changes, seconds = options.changes, options.seconds
        planned = plan(open_source(source), models or [None], rule=rule, count=sizes, seeds=seeds, weights=weights,
                       changes=changes, upto=upto)
        if length is not None:
            planned = planned.shortened(read_length(length, "--length"))
        elif seconds is not None and not any(name.startswith("schedule.") for name in changes):
            planned = within(planned, seconds, Ledger(options.out))
        return DataSize(planned, target, at, force)

    return to_the_end(asked, options)


@study.command(name="compute")
def compute(
    source: str, /, *,
    models: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative=())] = (),
    lengths: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative=())] = ("1/4", "1/2", "1"),
    seeds: Count = 3,
    options: StudyOptions = DEFAULTS,
) -> int:
    """How much compute does it take: ViT, ResNet or hybrid? Train sizes of each for several lengths, and compare the
    frontiers, with intervals, beside the paper's own numbers.

        vitrail study compute fashion --time 30m

        vitrail study compute photos/ --models Ti/8 S/8 R26x0.5 R26x1 R+Ti/4 --lengths 1/4 1/2 1

    Stopped by Ctrl-C or worse, the same command goes on; several of them at once share the work.

    Parameters
    ----------
    source
        Labeled images in any form that `vitrail train` takes.
    models
        Models to train, of one family or several, such as S/16 R50x1 R50+S/16; half:NAME is half as wide. Up to three
        sizes each of ViT, ResNet and hybrid that suit the images without.
    lengths
        How long each is trained, as shares of the default recipe's epochs: each is a run of its own, since the
        learning rate falls to its end.
    seeds
        Runs of the cheapest and the middle setting of each family; one of the others.
    """
    def asked() -> Question:
        from vitrail.data.source import open_source
        from vitrail.studies.compute import Compute
        from vitrail.studies.compute.plan import plan

        return Compute(plan(open_source(source), models, lengths=lengths, seeds=seeds, changes=options.changes))

    return to_the_end(asked, options)


for name, command in VERBS.items():
    study.command(command, name=name)
