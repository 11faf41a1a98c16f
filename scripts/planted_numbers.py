"""Numbers, addresses and dates that `bench_redaction` plants in sentences: right ones, and some that only look right.

Check digits are computed here by the text of the standards, apart from the code that is tried.
"""

import random
import string
from collections.abc import Callable
from dataclasses import dataclass

Planted = tuple[str, str, str]  # what stands before it, itself, what stands after it


@dataclass(frozen=True)
class Kind:
    """A kind of what is planted.

    Args:
        make: Returns one.
        before: What may stand before it.
        checked: Whether it has check digits.
    """

    make: Callable[[random.Random], str]
    before: tuple[str, ...]
    checked: bool = False

    def __call__(self, draw: random.Random) -> Planted:
        """Return one, and what stands around it."""
        return draw.choice(self.before), self.make(draw), draw.choice("。，；")


# ---- with check digits --------------------------------------------------------------------------------------------
def identity_number(draw: random.Random) -> str:
    """Return the 18 digits of an identity card: the check digit makes the weighted sum 1 modulo 11."""
    place = draw.choice(("110105", "320583", "440304", "510107", "650102", "330782"))
    number = f"{place}{draw.randint(1940, 2015)}{draw.randint(1, 12):02}{draw.randint(1, 28):02}{digits(draw, 3)}"
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    rest = sum(int(digit) * weight for digit, weight in zip(number, weights, strict=True))
    return number + next(sign for sign in "0123456789X" if (rest + "0123456789X".index(sign)) % 11 == 1)


def card_number(draw: random.Random) -> str:
    """Return the digits of a payment card: Luhn's sum is 0 modulo 10."""
    start, length = draw.choice((
        ("622202", 19), ("621700", 19), ("622588", 16), ("436742", 19), ("456351", 19), ("955880", 19), ("4", 16),
        ("52", 16), ("3530", 16), ("37", 15), ("6011", 16),
    ))  # fmt: skip
    number = start + digits(draw, length - len(start) - 1)
    return number + next(sign for sign in string.digits if luhn_sum(number + sign) % 10 == 0)


def luhn_sum(number: str) -> int:
    """Return the sum of all digits, of every second one from the right the digits of its double."""
    total = 0
    for place, digit in enumerate(reversed(number)):
        value = int(digit) * (1 + place % 2)
        total += value // 10 + value % 10
    return total


def organisation_code(draw: random.Random) -> str:
    """Return the 18 characters of an organisation's code: the weighted sum is 0 modulo 31."""
    signs = "0123456789ABCDEFGHJKLMNPQRTUWXY"
    code = draw.choice(("91", "92", "52", "12")) + digits(draw, 6) + "".join(draw.choices(signs, k=9))
    weights = (1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28)
    rest = sum(signs.index(sign) * weight for sign, weight in zip(code, weights, strict=True))
    return code + signs[-rest % 31]


def grouped(draw: random.Random, number: str, sizes: tuple[int, ...]) -> str:
    """Return a number as people write it: as it is, in groups, full-width."""
    form = draw.random()
    if form < 0.6:
        return number
    if form < 0.75:
        return number.translate({ord(sign): ord(sign) + 0xFEE0 for sign in number})
    groups, at = [], 0
    for size in sizes:
        groups.append(number[at : at + size])
        at += size
    return draw.choice(" -").join(filter(None, [*groups, number[at:]]))


def written_identity_number(draw: random.Random) -> str:
    """Return an identity number as people write it."""
    number = identity_number(draw)
    return grouped(draw, number.lower() if draw.random() < 0.3 else number, (6, 8, 4))


# ---- without ------------------------------------------------------------------------------------------------------
def digits(draw: random.Random, count: int) -> str:
    """Return random digits."""
    return "".join(draw.choices(string.digits, k=count))


def mobile_number(draw: random.Random) -> str:
    """Return a mobile number, of a virtual operator too."""
    start = draw.choice(("138", "139", "150", "186", "199", "170", "171", "162", "165", "167", "192"))
    number = grouped(draw, start + digits(draw, 8), (3, 4, 4))
    return draw.choice(("", "", "", "+86 ", "+86", "0086-")) + number if number.isascii() else number


def fixed_number(draw: random.Random) -> str:
    """Return a fixed-line number, with an extension or without."""
    area, count = draw.choice((("010", 8), ("021", 8), ("0571", 8), ("0755", 8), ("0312", 7), ("0898", 8)))
    area = draw.choice((f"{area}-", f"({area})", f"（{area}）", f"{area} ", area))
    local = draw.choice("2345678") + digits(draw, count - 1)
    local = f"{local[:-4]} {local[-4:]}" if not area.isdigit() and draw.random() < 0.3 else local
    return area + local + draw.choice(("", "", "-8012", "转801", " 分机 12", " ext. 8"))


def plate(draw: random.Random) -> str:
    """Return a licence plate, that of an electric car too."""
    start = draw.choice("京沪粤浙川新藏蒙") + draw.choice("ABCDEFG") + draw.choice(("", "·", " "))
    ending = draw.choice((digits(draw, 5), "D" + digits(draw, 5), digits(draw, 4) + "学", f"{digits(draw, 3)}K8"))
    return start + ending


def email(draw: random.Random) -> str:
    """Return an e-mail address."""
    name = draw.choice(("li.si", "zhang_san88", "wang-wu", "a1", "_hello")) + digits(draw, 2)
    return name + draw.choice(
        ("@example.com", "@mail.example.edu.cn", "@例子.中国", "@公司.网络", "＠ｅｘａｍｐｌｅ．ｃｎ")
    )


def url(draw: random.Random) -> str:
    """Return an address of the web."""
    path = draw.choice(("", "/", f"/u/{digits(draw, 4)}?from=wx&x=1#a"))
    return draw.choice(("https://example.com", "http://www.例子.中国", "www.example.cn", "HTTP://10.1.2.3:8080")) + path


def machine_address(draw: random.Random) -> str:
    """Return an address of a machine."""
    four = ".".join(str(draw.randint(1, 254)) for _ in range(4))
    groups = [f"{draw.randrange(1, 1 << 16):x}" for _ in range(8)]
    return draw.choice((four, ":".join(groups), f"2001:db8::{groups[0]}", f"::ffff:{four}"))


def birth_date(draw: random.Random) -> str:
    """Return a date of birth in one of its forms."""
    year, month, day = draw.randint(1940, 2015), draw.randint(1, 12), draw.randint(1, 28)
    numerals = "".join("〇一二三四五六七八九"[int(digit)] for digit in str(year))
    months = [*"一二三四五六七八九十", "十一", "十二"]
    return draw.choice((
        f"{year}年{month}月{day}日", f"{year}-{month:02}-{day:02}", f"{year}.{month}.{day}", f"{year}年{month}月",
        f"{numerals}年{months[month - 1]}月", f"{numerals}年{months[month - 1]}月十{months[day % 9]}日",
    ))  # fmt: skip


def money(draw: random.Random) -> str:
    """Return an amount of money."""
    amount = draw.randint(1000, 99_999)
    forms = (f"{amount}元", f"{amount:,}.50元", f"￥{amount}", "叁仟伍佰元整", "三千五百块钱", f"{amount / 1000}万美元")
    return draw.choice(forms)


def address(draw: random.Random) -> str:
    """Return a postal address."""
    place = draw.choice(
        ("北京市海淀区学院路", "杭州市西湖区文三路", "广东省深圳市南山区科技园路", "漕溪北路", "成都市玉林街")
    )
    house = draw.randint(1, 300)
    return f"{place}{house}号" + draw.choice(("", "3号楼501室", "院2栋1单元302", "12层", "-2"))


PLANTED = {
    "ID_CARD": Kind(written_identity_number, ("，身份证号", "，身份证：", " ", "，证件号码为"), checked=True),
    "BANK_CARD": Kind(
        lambda draw: grouped(draw, card_number(draw), (4, 4, 4, 4)), ("，卡号", "，银行卡：", "，"), checked=True
    ),
    "CREDIT_CODE": Kind(organisation_code, ("，代码", "，统一社会信用代码："), checked=True),
    "PHONE, mobile": Kind(mobile_number, ("，手机", "，电话：", "，", "，tel:")),
    "PHONE, fixed line": Kind(fixed_number, ("，座机", "，电话：", "，")),
    "PLATE": Kind(plate, ("，车牌", "，车牌号：", "，")),
    "EMAIL": Kind(email, ("，邮箱：", "，", "，e-mail ")),
    "URL": Kind(url, ("，见", "，网址：", "，")),
    "IP": Kind(machine_address, ("，IP:", "，地址：", "，")),
    "BIRTH_DATE": Kind(birth_date, ("，出生日期：", "，生于", "，出生于")),
    "MONEY": Kind(money, ("，付了", "，金额：", "，")),
    "ADDRESS": Kind(address, ("，住在", "，地址：", "，")),
    "ACCOUNT": Kind(lambda draw: draw.choice("123456789") + digits(draw, 7), ("，QQ：", "，QQ号", "，qq ")),
    "DOCUMENT": Kind(lambda draw: "E" + digits(draw, 8), ("，护照号：", "，护照", "，通行证号码")),
}


# ---- what only looks right ----------------------------------------------------------------------------------------
def look_alike(draw: random.Random) -> str:
    """Return a number with a wrong check digit, or one inside a longer run of digits; none that is right by chance."""
    while True:
        number = draw.choice((identity_number, card_number, organisation_code))(draw)
        if draw.random() < 0.5:
            signs = string.digits + "X" * (len(number) == 18)
            made = number[:-1] + draw.choice([sign for sign in signs if sign != number[-1]])
        else:
            number = draw.choice((number, draw.choice(("138", "170")) + digits(draw, 8)))
            before, after = draw.choice(((0, 1), (1, 0), (2, 2), (0, 4), (5, 1)))
            made = digits(draw, before) + number + digits(draw, after)
        if not is_right(made):
            return made


def is_right(number: str) -> bool:
    """Return whether a number is right by chance: a card, a mobile number with the code of the country, a landline."""
    if not number.isdigit():
        return False
    return (len(number) > 12 and luhn_sum(number) % 10 == 0) or (number.startswith(("86", "0086")) and len(number) < 16)
