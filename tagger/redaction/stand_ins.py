"""Plausible stand-ins: a string of the same kind and length, in which nothing is left of what it stands for."""

import datetime
import re
import string
import unicodedata
from collections.abc import Callable, Mapping
from random import Random

from tagger.redaction.numbers import (
    credit_check,
    hong_kong_check,
    identity_check,
    is_card_number,
    luhn_check,
    taiwan_check,
)

_SURNAMES = (
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林郑谢罗梁宋唐许韩冯邓曹彭曾肖田董袁潘蒋蔡余杜叶程苏魏吕丁任沈姚卢姜"
    "崔钟谭陆汪范金石廖贾夏韦付方白邹孟熊秦邱江尹薛闫段雷侯龙史陶黎贺顾毛郝龚邵万钱严覃武戴莫孔向汤"
)
_COMPOUND = (
    "欧阳",
    "上官",
    "司马",
    "诸葛",
    "夏侯",
    "皇甫",
    "尉迟",
    "公孙",
    "慕容",
    "司徒",
    "令狐",
    "端木",
    "轩辕",
    "东方",
)
_GIVEN = (
    "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂文辉玲华红建国英梅鑫波斌宇浩凯丹萍鹏飞琳雪晨阳佳欣怡子涵梓轩"
    "雨思睿博文嘉懿俊皓然诗语若瑶安宁远航志诚永康云海春晓"
)
_FOREIGN = (
    "阿巴贝布查戴德迪多恩法费弗格哈赫基杰卡科克拉莱兰雷里利林鲁罗马迈曼梅米莫纳内尼诺帕佩皮奇萨塞史斯索塔特托"
    "瓦威维沃西希雅亚尤约泽扎"
)
_PLACE = (
    "安白宝昌长朝城川春东丰福高光广海汉和河恒弘华怀淮会嘉建江金景靖康兰乐黎临灵龙隆洛明南宁平浦祁清泉瑞润沙山"
    "泗松泰棠天桐望文武西熙祥新兴秀雅延阳义永余玉源云泽昭中竹"
)
_OTHER = (
    "安保本常成大方风光广国海和恒宏华辉汇佳嘉建金锦晶景聚凯康科朗乐联隆美明诺鹏启庆锐瑞润赛盛世泰腾通同万旺文"
    "祥新信兴旭雅亚阳一宜益银永优宇裕远云运泽展兆真正志中众卓"
)

# Ends of names that stay; of those that end alike, the longest comes first.
_SUFFIXES = (
    "有限责任公司", "股份有限公司", "集团有限公司", "有限公司", "分公司", "公司", "集团", "银行", "支行",
    "分行", "大学", "学院", "中学", "小学", "幼儿园", "学校", "医院", "卫生院", "诊所", "法院",
    "检察院", "公安局", "派出所", "委员会", "管理局", "管理处", "研究院", "研究所", "研究中心",
    "服务中心", "中心", "协会", "学会", "基金会", "联合会", "出版社", "报社", "日报", "晚报",
    "电视台", "博物馆", "图书馆", "事务所", "工作室", "厂", "局", "部", "厅", "处", "社", "队",
    "自治区", "自治州", "自治县", "街道", "大街", "大道", "胡同", "小区", "花园", "公园", "广场",
    "大厦", "机场", "火车站", "新村", "车站", "省", "市", "区", "县", "旗", "镇", "乡",
    "村", "屯", "路", "街", "巷", "弄", "里", "山", "河", "江", "湖", "海", "岛", "湾",
    "港", "州", "国", "桥", "寺", "站",
)  # fmt: skip


def stand_in(label: str, mention: str, random: Random) -> str:
    """Return another string of the kind of a mention, with as many characters.

    A mention that has not the form of its label, such as one of a list, gets random characters of its own kinds.

    Args:
        label: Of the mention: the name of a rule, or a label of the tagger.
        mention: The string.
        random: Decides alone what comes out.
    """
    return STAND_INS.get(label, _like)(mention, random)


def _like(mention: str, random: Random, han: str = _OTHER) -> str:
    """Return random characters, each of the kind of the one in its place; signs and blanks stay."""
    return "".join(_character(sign, random, han) for sign in mention)


def _character(sign: str, random: Random, han: str) -> str:
    for kind in _KINDS:
        if sign in kind:
            return _other(sign, kind, random)
    if sign in "〇零":
        return random.choice(_NUMERALS[0])
    return _other(sign, han, random) if sign.isalpha() else sign


_NUMERALS = ("一二三四五六七八九", "壹贰叁肆伍陆柒捌玖")

_ASCII = (string.digits, string.ascii_lowercase, string.ascii_uppercase)

# Characters that stand in for one another: ASCII, full-width, numerals.
_KINDS = (*_ASCII, *("".join(chr(ord(sign) + 0xFEE0) for sign in kind) for kind in _ASCII), *_NUMERALS)


def _other(sign: str, signs: str, random: Random) -> str:
    return random.choice([other for other in signs if other != sign])


# ---- names --------------------------------------------------------------------------------------------------------
def _person(mention: str, random: Random) -> str:
    if not re.fullmatch(r"[\u3400-\u9fff]+", mention):
        return _like(mention, random, _FOREIGN)
    if len(mention) > 1 and mention[0] in "老小阿":
        return mention[0] + _like(mention[1:], random, _GIVEN if mention[0] == "阿" else _SURNAMES)
    if len(mention) > 4:
        return _like(mention, random, _FOREIGN)
    if len(mention) == 4 or mention[:2] in _COMPOUND:
        surname = random.choice([name for name in _COMPOUND if name != mention[:2]])[: len(mention)]
    else:
        surname = _other(mention[0], _SURNAMES, random)
    return surname + _like(mention[len(surname) :], random, _GIVEN)


def _with_suffix(signs: str) -> Callable[[str, Random], str]:
    def make(mention: str, random: Random) -> str:
        end = next((suffix for suffix in _SUFFIXES if mention.endswith(suffix) and len(mention) > len(suffix)), "")
        return _like(mention[: len(mention) - len(end)], random, signs) + end

    return make


def _address(mention: str, random: Random) -> str:
    names, *number = re.split(r"([A-Z0-9]|(?<=[路街道巷弄])[一二三四五六七八九十百])", mention, maxsplit=1)
    parts = re.split(r"([省市区县镇乡村路街巷弄]|大道|街道|胡同|小区|花园|公寓|大厦)", names)
    changed = "".join(part if place % 2 else _like(part, random, _PLACE) for place, part in enumerate(parts))
    return changed + _figures("".join(number), random)


def _figures(mention: str, random: Random) -> str:
    """Return a mention with other digits and numerals; all else stays."""
    return "".join(
        _character(sign, random, "") if sign.isdigit() or sign in "".join(_NUMERALS) else sign for sign in mention
    )


# ---- numbers ------------------------------------------------------------------------------------------------------
def _put(mention: str, signs: str) -> str:
    """Return a mention with its letters and digits replaced, in order, by `signs`; what was full-width stays so."""
    rest = iter(signs)
    return "".join(_as_wide(next(rest), sign) if _narrow(sign).isalnum() else sign for sign in mention)


def _alphanumeric(mention: str) -> str:
    """Return the letters and digits of a mention, as `_put` counts them, in ASCII and as capitals."""
    return "".join(filter(str.isalnum, map(_narrow, mention))).upper()


def _narrow(sign: str) -> str:
    """Return a letter or digit as ASCII, "" for what has no such form."""
    narrow = unicodedata.normalize("NFKC", sign)
    return narrow if narrow.isascii() else ""


def _as_wide(sign: str, like: str) -> str:
    return sign if like.isascii() else chr(ord(sign) + 0xFEE0)


def _digits(count: int, random: Random) -> str:
    return "".join(random.choices(string.digits, k=count))


def _phone(mention: str, random: Random) -> str:
    """Return another number; the codes of the country and of the area stay."""
    number = "".join(filter(str.isdecimal, map(_narrow, mention)))
    code = r"1(?=[3-9][0-9]{9})|[48]00|0?(?:10|2[0-9]|[3-9][0-9]{2})|(?:00)?(?:852|853|886)"
    match = re.fullmatch(rf"((?:(?:00)?86)?)({code})([0-9])([0-9]{{5,}})", number) if len(number) > 8 else None
    if match is None:
        return mention[0] + _like(mention[1:], random)
    country, code, first, rest = match.groups()
    rest = iter(country + code + _other(first, "3456789", random) + _like(rest, random))
    return "".join(_as_wide(next(rest), sign) if _narrow(sign).isdecimal() else sign for sign in mention)


def _identity(mention: str, random: Random) -> str:
    """Return another number of a card of the mainland, of Hong Kong or of Taiwan, with a right check digit."""
    number = _alphanumeric(mention)
    if match := re.fullmatch(r"([A-Z]{1,2})[0-9]{6}[0-9A]", number):
        number = _like(match[1], random) + _digits(6, random)
        return _put(mention, number + hong_kong_check(number))
    if re.fullmatch(r"[A-Z][0-9]{9}", number):
        number = _like(number[0], random) + random.choice("12") + _digits(7, random)
        return _put(mention, number + taiwan_check(number))
    if not re.fullmatch("[0-9]{15}|[0-9]{17}[0-9X]", number):
        return _like(mention, random)
    day = _day(random)
    place = random.choice(("11", "31", "44", "51")) + "99" + _digits(2, random)
    if len(number) == 15:
        return _put(mention, f"{place}{day:%y%m%d}{_digits(3, random)}")
    number = f"{place}{day:%Y%m%d}{_digits(3, random)}"
    return _put(mention, number + identity_check(number))


def _day(random: Random) -> datetime.date:
    return datetime.date(1950, 1, 1) + datetime.timedelta(random.randrange(18_000))


def _card(mention: str, random: Random) -> str:
    number = _alphanumeric(mention)
    if not re.fullmatch("[0-9]{13,19}", number):
        return _like(mention, random)
    made = number[:2] + _digits(len(number) - 3, random)
    made += luhn_check(made)
    return _put(mention, made if is_card_number(made) else number[:3] + _like(number[3:], random))


def _credit_code(mention: str, random: Random) -> str:
    code = _alphanumeric(mention)
    if not re.fullmatch("[0-9A-HJ-NPQRTUWXY]{18}", code):
        return _like(mention, random)
    code = code[:2] + _digits(15, random)
    return _put(mention, code + credit_check(code))


def _plate(mention: str, random: Random) -> str:
    """Return another plate: other letters and digits; Chinese characters behind the first, as 学 and 警, stay."""
    start = "WJ" if mention.startswith("WJ") else mention[0]
    kinds = (string.digits, "ABCDEFGHJKLMNPQRSTUVWXYZ", "abcdefghjklmnpqrstuvwxyz")
    changed = (
        next((_as_wide(_other(_narrow(sign), kind, random), sign) for kind in kinds if _narrow(sign) in [*kind]), sign)
        for sign in mention[len(start) :]
    )
    is_place = start not in ("WJ", "使")
    return (_other(start, "京津沪渝冀豫云辽黑湘皖鲁苏浙赣鄂", random) if is_place else start) + "".join(changed)


def _account(mention: str, random: Random) -> str:
    start = "wxid_" if mention.startswith("wxid_") else ""
    return start + _like(mention[len(start) :], random)


def _net(mention: str, random: Random) -> str:
    """Return an address of the net; what is before :// and behind the last dot of the host stays."""
    match = re.fullmatch(
        r"((?:[A-Za-z]+://)?(?i:www\.)?)(.*?)((?:[.．](?:[A-Za-zＡ-Ｚａ-ｚ]{2,6}|[\u4e00-\u9fff]{2,4}))?)"
        r"((?::[0-9]+)?(?:[/?#].*)?)",
        mention,
        re.S,
    )
    assert match is not None
    start, host, end, path = match.groups(default="")
    return start + _like(host, random) + end + _like(path, random)


def _email(mention: str, random: Random) -> str:
    name, at, host = (*re.split(r"([@＠]|[\[(（]at[\])）])", mention, maxsplit=1), "", "")[:3]
    return _like(name, random) + at + _net(host, random)


def _ip(mention: str, random: Random) -> str:
    if re.fullmatch("[0-9]{1,3}([.][0-9]{1,3})*", mention):
        return ".".join(str(random.randint(*_RANGES[len(part)])) for part in mention.split("."))
    if re.fullmatch("[0-9A-Fa-f:.-]+", mention):
        return re.sub("[0-9A-Fa-f]", lambda _: random.choice("123456789abcdef"), mention)
    return _like(mention, random)


_RANGES = {1: (1, 9), 2: (10, 99), 3: (100, 254)}


def _date(mention: str, random: Random) -> str:
    """Return another date in the same form: year, month and day as far as they are there, in digits or numerals."""
    if re.fullmatch("[0-9]{8}", mention):
        return f"{_day(random):%Y%m%d}"
    limits = iter(((1950, 1999), (1, 12), (1, 28)))
    if not re.match(r"[0-9]{4}|[0-9]{2}年|[〇○零一二三四五六七八九]{2,4}年", mention):
        next(limits)  # of a date without a year

    def other(match: re.Match[str]) -> str:
        least, most = next(limits, (1, 28))
        written = match[0]
        forms = (_written(value, written) for value in range(least, most + 1))
        choices = [form for form in forms if len(form) == len(written) and form != written]
        return random.choice(choices) if choices else _like(written, random)

    return re.sub("[0-9]+|[〇○零一二三四五六七八九十廿卅]+", other, mention)


def _written(value: int, like: str) -> str:
    """Return a number in digits or numerals as another one is written; a year with two digits without its century."""
    text = str(value)[-2:] if len(like) == 2 else str(value)
    if like.isdecimal():
        return text.zfill(len(like))
    if value > 99:
        return "".join("零一二三四五六七八九"[int(digit)] for digit in text)
    ten, one = divmod(value, 10)
    return ("二三"[ten - 2] if ten > 1 else "") + ("十" if ten else "") + ("一二三四五六七八九"[one - 1] if one else "")


STAND_INS: Mapping[str, Callable[[str, Random], str]] = {
    "PER": _person,
    "LOC": _with_suffix(_PLACE),
    "ORG": _with_suffix(_OTHER),
    "ADDRESS": _address,
    "PHONE": _phone,
    "ID_CARD": _identity,
    "BANK_CARD": _card,
    "CREDIT_CODE": _credit_code,
    "PLATE": _plate,
    "ACCOUNT": _account,
    "EMAIL": _email,
    "URL": _net,
    "IP": _ip,
    "BIRTH_DATE": _date,
    "MONEY": _figures,
}
