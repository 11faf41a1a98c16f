"""What rules find better than a network: numbers with check digits, addresses of the net, dates of birth, money.

A rule is a pattern and, where a number has check digits or parts in range, a test of what it matches. Digits may be
full-width, as in ７８; numbers of people are never taken out of the middle of longer ones.
"""

import datetime
import ipaddress
import re
import string
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from tagger.documents import Notes, Span, without_overlaps

# Full-width letters, digits and the signs in addresses as their ASCII forms: one character for each.
_NARROW = {0xFEE0 + ord(sign): sign for sign in string.ascii_letters + string.digits + "@.+-_/&="}

_ALONE, _END = r"(?<![0-9A-Za-z])(?<![0-9][.\-])", r"(?![0-9A-Za-z])(?![.\-][0-9])"  # not a part of a longer number

_HAN = r"[\u4e00-\u9fff]"


# ---- check digits -----------------------------------------------------------------------------------------------
def is_identity_number(number: str) -> bool:
    """Return whether 18 characters are a number of a Chinese resident's identity card (GB 11643-1999).

    A code of a province, a date of birth, and a check digit after ISO 7064 MOD 11-2.
    """
    if not re.fullmatch(r"[0-9]{17}[0-9Xx]", number) or number[:2] not in _PROVINCES:
        return False
    return is_date(number[6:10], number[10:12], number[12:14]) and number[17].upper() == identity_check(number[:17])


def identity_check(number: str) -> str:
    """Return the check digit of the first 17 digits of an identity number."""
    total = sum(int(digit) * pow(2, 17 - place, 11) for place, digit in enumerate(number))
    return "10X98765432"[total % 11]


def is_card_number(number: str) -> bool:
    """Return whether digits are the number of a payment card: 13 to 19 of a known issuer, with Luhn's check digit."""
    return re.fullmatch(_ISSUERS, number) is not None and luhn_check(number[:-1]) == number[-1]


def luhn_check(number: str) -> str:
    """Return the check digit that Luhn's formula (ISO/IEC 7812-1) adds to digits."""
    doubled = (int(digit) * (2 if place % 2 == 0 else 1) for place, digit in enumerate(reversed(number)))
    return str(-sum(value - 9 if value > 9 else value for value in doubled) % 10)


def is_credit_code(code: str) -> bool:
    """Return whether 18 characters are the code of a Chinese organisation (GB 32100-2015), by its check character."""
    return all(sign in _CODE_SIGNS for sign in code) and credit_check(code[:17]) == code[17]


def credit_check(code: str) -> str:
    """Return the check character of the first 17 of an organisation's code."""
    total = sum(_CODE_SIGNS.index(sign) * pow(3, place, 31) for place, sign in enumerate(code))
    return _CODE_SIGNS[-total % 31]


def is_date(year: str, month: str, day: str) -> bool:
    """Return whether there is such a day, after 1850 and not much after today."""
    try:
        date = datetime.date(int(year), int(month), int(day))
    except ValueError:
        return False
    return 1850 < date.year <= datetime.date.today().year + 1


def _is_ip(address: str) -> bool:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True


# Codes of provinces, and of the card of permanent residents.
_PROVINCES = frozenset(
    str(code)
    for codes in ((11, 16), (21, 24), (31, 38), (41, 47), (50, 55), (61, 66), (71, 72), (81, 84), (91, 92))
    for code in range(*codes)
)

_CODE_SIGNS = "0123456789ABCDEFGHJKLMNPQRTUWXY"

# Issuers by their first digits: UnionPay and older Chinese cards, Visa, Mastercard, American Express, JCB, Diners.
_ISSUERS = (
    r"62[0-9]{14,17}|9[0-9]{15,18}|4[0-9]{12}(?:[0-9]{3})?|5[1-5][0-9]{14}|2[2-7][0-9]{14}|3[47][0-9]{13}"
    r"|35[0-9]{14}|3[068][0-9]{12}|6[05][0-9]{14,17}"
)


# ---- the table --------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Rule:
    """What has a form of its own: a row of `RULES`.

    Args:
        about: What it finds, for the table in `tagger help redaction`.
        pattern: Matched against the text with narrow digits and letters; the group `it`, or all that it matches.
        holds: Whether a match, without blanks and hyphens, is one indeed.
        keeps: Whether `holds` needs blanks and hyphens.
    """

    about: str
    pattern: re.Pattern[str]
    holds: Callable[[str], bool] = lambda found: True
    keeps: bool = False


def _pattern(*parts: str) -> re.Pattern[str]:
    return re.compile("".join(parts))


_DATE = (
    r"(?:[0-9]{4}\s?[年./-]\s?[0-9]{1,2}\s?[月./-]\s?[0-9]{1,2}\s?日?|[0-9]{8}(?![0-9])"
    r"|[〇零一二三四五六七八九]{4}年[一二三四五六七八九十]{1,2}月[一二三四五六七八九十]{1,3}日)"
)

_AMOUNT = r"(?>[0-9]{1,20}+(?:,[0-9]{3}){0,6}+(?:\.[0-9]{1,6}+)?)"

_CURRENCY = r"(?:人民币|美元|美金|欧元|英镑|日元|港元|港币|澳元|加元|韩元|卢布|元|块钱|块|圆)"

RULES = {
    "EMAIL": Rule(
        "e-mail addresses",
        _pattern(
            r"(?<![A-Za-z0-9.+_-])[A-Za-z0-9][A-Za-z0-9.+_-]*@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}(?![A-Za-z0-9])"
        ),
        keeps=True,
    ),
    "URL": Rule(
        "addresses of the web",
        _pattern(
            r"(?:https?|ftp)://[!-~]*[A-Za-z0-9/_#=&%-]"
            r"|(?<![A-Za-z0-9@.])www\.[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+(?:[/?][!-~]*[A-Za-z0-9/_#=&%-])?"
        ),
        keeps=True,
    ),
    "IP": Rule(
        "addresses of machines, IPv4 and IPv6",
        _pattern(
            r"(?<![0-9A-Za-z.:])(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9A-Za-z])"
            r"|(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![0-9A-Za-z:]))(?!\.[0-9])"
        ),
        _is_ip,
        keeps=True,
    ),
    "ID_CARD": Rule(
        "numbers of identity cards, 18 digits with a date and a check digit",
        _pattern(_ALONE, r"[1-9][0-9]{5}[ ]?[0-9]{8}[ ]?[0-9]{3}[0-9Xx]", _END),
        is_identity_number,
    ),
    "CREDIT_CODE": Rule(
        "codes of Chinese organisations, 18 characters with a check character",
        _pattern(_ALONE, r"[0-9A-HJ-NP-RTUWXY]{2}[0-9]{6}[0-9A-HJ-NP-RTUWXY]{10}", _END),
        is_credit_code,
    ),
    "BANK_CARD": Rule(
        "numbers of payment cards, 13 to 19 digits of a known issuer with a check digit",
        _pattern(_ALONE, r"[2-69](?:[ -]?[0-9]){12,18}", _END),
        is_card_number,
    ),
    "PHONE": Rule(
        "mobile and fixed-line numbers of China",
        _pattern(
            r"(?<![0-9A-Za-z.])(?<![0-9]-)(?:\+?(?:00)?86[ -]?)?(?:"
            r"1[3-9][0-9](?:[ -]?[0-9]{4}){2}"
            r"|\(?0(?:10|2[0-57-9]|[3-9][0-9]{2})\)?[ -]?[2-9](?:[0-9]{7}|[0-9]{6}|[0-9]{3}[ -][0-9]{4})"
            r"(?:-[0-9]{1,4}(?![0-9]))?"
            r"|[48]00(?:-?[0-9]{3}-?[0-9]{4}|-?[0-9]{4}-?[0-9]{3})"
            r")",
            _END,
        ),
    ),
    "PLATE": Rule(
        "licence plates of China",
        _pattern(
            r"(?:[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼][A-HJ-Z][ ·・•]?"
            r"(?=[A-Z]{0,5}[0-9])(?:[A-HJ-NP-Z0-9]{4}[A-HJ-NP-Z0-9挂学警港澳]|[A-HJ-NP-Z0-9]{6}))(?![A-Za-z0-9])"
        ),
        keeps=True,
    ),
    "BIRTH_DATE": Rule(
        "dates of birth, where the text says so",
        _pattern(
            r"(?:出生(?:日期|年月日|年月|时间)?|生日|生于|诞生于)[\s:：为是于在]{0,3}(?P<it>",
            _DATE,
            r")|(?P<that>",
            _DATE,
            r")(?:出?生(?![产活意])|诞生)",
        ),
        keeps=True,
    ),
    "MONEY": Rule(
        "amounts of money",
        _pattern(
            r"(?:[¥￥$€£]|RMB|CNY|USD|人民币)\s?",
            _AMOUNT,
            r"\s?(?:万亿|亿|万|千万|百万)?(?:",
            _CURRENCY,
            r")?"
            r"|(?<![0-9.])",
            _AMOUNT,
            r"\s?(?:万亿|亿|千万|百万|万|千|多万|余万)?\s?多?余?",
            _CURRENCY,
            r"|(?<![壹贰叁肆伍陆柒捌玖零拾佰仟万亿])[壹贰叁肆伍陆柒捌玖零拾佰仟万亿]{1,30}+[元圆](?:[壹贰叁肆伍陆柒捌玖零]角)?(?:[壹贰叁肆伍陆柒捌玖零]分)?[整正]?"
            r"|(?<![一二两三四五六七八九十百千万亿几数])[一二两三四五六七八九十百千万亿几数]{1,20}+(?:块钱|元(?![旦宵月年素]))",
        ),
        keeps=True,
    ),
    # Atomic groups, (?>...), keep the time linear: what they have matched is not tried in other ways.
    "ADDRESS": Rule(
        "postal addresses, down to a house or a room",
        _pattern(
            rf"(?>(?:住在|家住|住址[:：]?|住|位于|坐落于|地址[:：]?|寄到?|送到?|在|到|至|往|从)?)(?P<it>"
            rf"(?>{_HAN}{{2,7}}?(?:省|自治区))?+(?>{_HAN}{{2,7}}?(?:市|自治州|地区|盟))?+"
            rf"(?>{_HAN}{{1,7}}?(?:区|县|旗|市))?+(?>{_HAN}{{1,7}}?(?:街道|镇|乡))?+"
            rf"{_HAN}{{1,9}}?(?:路|街|大道|巷|胡同|弄|里|村|小区|花园|公寓|大厦|新村|苑|园)(?:[东西南北中]段)?"
            r"[A-Za-z]?[0-9一二三四五六七八九十百]{1,5}+(?:[-—之][0-9]{1,4})?(?:号楼|号院|号|弄|栋|幢|座|室|组)"
            r"(?:附?[A-Za-z]?[0-9一二三四五六七八九十]{1,5}+(?:[-—][0-9]{1,4}){0,3}(?:号楼|号|栋|幢|座|单元|层|楼|室|户|房)"
            r"|[A-Z]座|[0-9]{1,4}-[0-9]{1,4}(?:-[0-9]{1,4})?){0,6})"
        ),
        keeps=True,
    ),
}


def matches(text: str, names: Iterable[str] = tuple(RULES)) -> Iterator[Span]:
    """Yield what rules match in a text, in order and without overlaps; of two that overlap, the longer one.

    Args:
        text: Any string.
        names: Of the rules to apply.
    """
    narrow = text.translate(_NARROW)
    spans = []
    for name in names:
        rule = RULES[name]
        for match in rule.pattern.finditer(narrow):
            group = next((group for group, value in match.groupdict().items() if value), 0)
            found = match[group] if rule.keeps else re.sub("[ -]", "", match[group])
            if rule.holds(found):
                spans.append(Span(*match.span(group), name))
    yield from without_overlaps(spans, Notes())
