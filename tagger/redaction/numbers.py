"""Numbers that can be checked: of identity cards, payment cards, organisations; dates; addresses of machines."""

import datetime
import ipaddress
import re

# Codes of provinces, and of the card of permanent residents.
_PROVINCES = frozenset(
    str(code)
    for codes in ((11, 16), (21, 24), (31, 38), (41, 47), (50, 55), (61, 66), (71, 72), (81, 84), (91, 92))
    for code in range(*codes)
)

_CODE_SIGNS = "0123456789ABCDEFGHJKLMNPQRTUWXY"

# Issuers by their first digits: UnionPay, Visa, Mastercard, American Express, JCB, Diners; and Chinese cards of 16 to
# 19 digits that banks issued under numbers of Visa (4), Mastercard (5) and of their own (6, 9).
_ISSUERS = (
    r"[69][0-9]{15,18}|81[0-9]{14,17}|4[0-9]{12}(?:[0-9]{3}){0,2}|5[0-689][0-9]{14,17}|2[2-7][0-9]{14}|3[47][0-9]{13}"
    r"|35[0-9]{14}|3[068][0-9]{12}"
)

# Values of the first letters of Taiwan's identity cards, which are those of its counties.
_COUNTIES = {letter: str(10 + place) for place, letter in enumerate("ABCDEFGHJKLMNPQRSTUVXYWZIO")}


def is_identity_number(number: str) -> bool:
    """Return whether characters are the number of an identity card of the mainland, of Hong Kong or of Taiwan.

    Of the mainland: 18 characters (GB 11643-1999) with the code of a province, a date of birth, and a check digit after
    ISO 7064 MOD 11-2; or 15 digits of an old card, which have no check digit.
    """
    number = number.upper()
    if re.fullmatch(r"[0-9]{17}[0-9X]", number):
        is_born = is_date(number[6:10], number[10:12], number[12:14])
        return number[:2] in _PROVINCES and is_born and number[17] == identity_check(number[:17])
    if re.fullmatch(r"[0-9]{15}", number):
        return number[:2] in _PROVINCES and is_date("19" + number[6:8], number[8:10], number[10:12])
    if re.fullmatch(r"[A-Z]{1,2}[0-9]{6}[0-9A]", number):
        return number[-1] == hong_kong_check(number[:-1])
    return re.fullmatch(r"[A-Z][1289][0-9]{8}", number) is not None and number[-1] == taiwan_check(number[:-1])


def resembles_identity_number(number: str) -> bool:
    """Return whether 18 characters are a number of an identity card but for the check digit, as a mistyped one."""
    is_born = len(number) == 18 and is_date(number[6:10], number[10:12], number[12:14])
    return is_born and number[:2] in _PROVINCES


def identity_check(number: str) -> str:
    """Return the check digit of the first 17 digits of an identity number of the mainland."""
    total = sum(int(digit) * pow(2, 17 - place, 11) for place, digit in enumerate(number))
    return "10X98765432"[total % 11]


def hong_kong_check(number: str) -> str:
    """Return the check digit of one or two letters and six digits of an identity card of Hong Kong."""
    values = [int(sign, 36) for sign in number]  # 0..9, then 10 for A and so on
    total = sum(value * weight for value, weight in zip(reversed(values), range(2, 10), strict=False))
    total += 0 if len(number) == 8 else 36 * 9  # a blank in the place of the first letter
    return "0A987654321"[total % 11]


def taiwan_check(number: str) -> str:
    """Return the check digit of a letter and eight digits of an identity card of Taiwan."""
    digits = [int(digit) for digit in _COUNTIES[number[0]] + number[1:]]
    total = sum(digit * weight for digit, weight in zip(digits, (1, 9, 8, 7, 6, 5, 4, 3, 2, 1), strict=True))
    return str(-total % 10)


def is_card_number(number: str) -> bool:
    """Return whether digits are the number of a payment card: 13 to 19 of a known issuer, with Luhn's check digit."""
    return resembles_card_number(number) and luhn_check(number[:-1]) == number[-1]


def resembles_card_number(number: str) -> bool:
    """Return whether digits are those of a known issuer of payment cards, whatever the check digit."""
    return re.fullmatch(_ISSUERS, number) is not None


def luhn_check(number: str) -> str:
    """Return the check digit that Luhn's formula (ISO/IEC 7812-1) adds to digits."""
    doubled = (int(digit) * (2 if place % 2 == 0 else 1) for place, digit in enumerate(reversed(number)))
    return str(-sum(value - 9 if value > 9 else value for value in doubled) % 10)


def is_credit_code(code: str) -> bool:
    """Return whether 18 characters are the code of a Chinese organisation (GB 32100-2015), by its check character."""
    code = code.upper()
    is_coded = len(code) == 18 and all(sign in _CODE_SIGNS for sign in code)
    return is_coded and credit_check(code[:17]) == code[17] and not resembles_identity_number(code)


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


def is_machine(address: str) -> bool:
    """Return whether a string is an address of a machine: IPv4, IPv6 or MAC."""
    if re.fullmatch(r"[0-9]+(?:\.[0-9]+){3}", address):
        return all(int(part) <= 255 for part in address.split("."))  # 010 is what people write, though no standard
    if re.fullmatch(r"[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5}", address):
        return True
    try:
        return int(ipaddress.ip_address(address)) > 0  # :: alone is mostly an operator
    except ValueError:
        return False
