"""One HTML file that says what was trained, how well it does, where it goes wrong and what it looks at."""

from __future__ import annotations

from vitrail.report.page import Run, write_report

__all__ = ["Run", "write_report"]
