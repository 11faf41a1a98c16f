"""What tagging costs on a cluster, by arithmetic from what one core does: the table in the page on clusters.

Run it when a figure below has been measured anew: .venv/bin/python scripts/cluster_costs.py
"""

from benching import PROJECT, Rows, fill_page, markdown_table

from tagger.cluster.plan import SHARD

PAGE = PROJECT / "tagger" / "docs" / "cluster.md"

CHARACTERS = (10**9, 10**10, 10**12)

CORES = (2, 32, 1_000)

# Characters a second that a core tags: half of what scripts/bench measures with OpenVINO on two.
TAGGED = 100_000

# Bytes of a character as a line of text, and of its results as JSON Lines: 3.02 and 6.34 in msra's training texts (47
# characters and 1.6 entities each), 2.83 and 5.32 in core2016's.
READ, WRITTEN = 3.0, 6.3

_TIMES = ((86_400, "days"), (3_600, "h"), (60, "min"), (1, "s"))


def costs() -> Rows:
    """Return the table of costs, its heading first."""
    rows: Rows = [("characters", *(f"10^{len(str(count)) - 1}" for count in CHARACTERS))]
    rows.append(("core hours", *(_rounded(count / TAGGED / 3600) for count in CHARACTERS)))
    for cores in CORES:
        seconds = (count / TAGGED / cores for count in CHARACTERS)
        rows.append((f"on {cores:,} cores", *map(_duration, seconds)))
    rows.append(("text that is read", *(_size(count * READ) for count in CHARACTERS)))
    rows.append(("results that are written", *(_size(count * WRITTEN) for count in CHARACTERS)))
    rows.append(("shards", *(_rounded(count * READ / SHARD) for count in CHARACTERS)))
    return rows


def _rounded(value: float) -> str:
    """Return a number with two significant digits at least."""
    return f"{value:.1f}" if value < 10 else f"{float(f'{value:.2g}'):,.0f}"


def _duration(seconds: float) -> str:
    unit, name = next((row for row in _TIMES if seconds >= 2 * row[0]), _TIMES[-1])
    return f"{_rounded(seconds / unit)} {name}"


def _size(size: float) -> str:
    return f"{_rounded(size / 1e12)} TB" if size >= 1e12 else f"{_rounded(size / 1e9)} GB"


if __name__ == "__main__":
    fill_page("costs", markdown_table(costs()), page=PAGE)
