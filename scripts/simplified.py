"""Write `tagger/simplified.txt`, the simplified form of each traditional character, from the tables of OpenCC.

    pip install opencc
    python scripts/simplified.py

A character is replaced wherever it stands, so the table must not touch what simplified text is written with: characters
of GB 2312 are left out (乾 of 乾隆, which is 干 elsewhere), but for two that traditional text is full of and that
simplified text has in rare names alone. Where a character has several simplified forms, OpenCC's first choice counts.
"""

import sys
from pathlib import Path

import opencc

FILE = Path(__file__).resolve().parents[1] / "tagger" / "simplified.txt"

HEADING = """\
# Simplified characters, each followed by the traditional characters that are looked up as it.
# Facts taken from the character tables of OpenCC {version}, https://github.com/BYVoid/OpenCC, (c) its authors,
# Apache License 2.0, https://www.apache.org/licenses/LICENSE-2.0; chosen and put in this form by scripts/simplified.py.
"""

TRADITIONAL_ALL_THE_SAME = "後於"  # though in GB 2312

HAN = range(0x4E00, 0xA000)  # the rest is too rare to have a vector


def table() -> dict[str, str]:
    """Return the simplified form of each traditional character; no form is itself traditional."""
    convert = opencc.OpenCC("t2s").convert
    pairs = {character: convert(character) for character in map(chr, HAN)}
    pairs = {one: other for one, other in pairs.items() if one != other and len(other) == 1 and ord(other) in HAN}
    pairs = {one: other for one, other in pairs.items() if one in TRADITIONAL_ALL_THE_SAME or not _in_gb2312(one)}
    return {one: other for one, other in pairs.items() if other not in pairs}


def _in_gb2312(character: str) -> bool:
    return bool(character.encode("gb2312", "ignore"))


def main() -> None:
    """Write the file."""
    pairs = table()
    forms: dict[str, str] = {}
    for traditional, simplified in pairs.items():
        forms[simplified] = forms.get(simplified, simplified) + traditional
    lines = "".join(f"{forms[simplified]}\n" for simplified in sorted(forms))
    FILE.write_text(HEADING.format(version=opencc.__version__) + lines, "utf-8")
    print(f"{FILE}: {len(pairs):,} characters", file=sys.stderr)


if __name__ == "__main__":
    main()
