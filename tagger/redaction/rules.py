"""What rules find better than a network: numbers with check digits, addresses of the net, dates of birth, money.

A rule is patterns and, where a number has check digits or parts in range, a test of what they match. Patterns see a
text with narrow digits and letters, plain blanks and hyphens, and simplified characters: one character for each, so
that offsets stay. Numbers of people are never taken out of the middle of longer ones.
"""

import re
import string
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache

from tagger.documents import Notes, Span, without_overlaps
from tagger.redaction.numbers import (
    is_card_number,
    is_credit_code,
    is_identity_number,
    is_machine,
    resembles_card_number,
    resembles_identity_number,
)
from tagger.text import simplified

# ---- parts of patterns ------------------------------------------------------------------------------------------
# Before and after a number: it is no part of a longer one, nor of a decimal. Words that stand before numbers without a
# blank, and the numbers of the items of a list, may precede it.
_LABELLED = "".join(rf"|(?<={word})" for word in ("tel", "phone", "mobile", "id", "no", "card", "vx", "qq"))
_ALONE = (
    r"(?=[0-9A-Za-z+(（])"  # first, as it is fast
    rf"(?:(?<![0-9A-Za-z])(?<![0-9][.\-])|(?m:(?<=^[0-9]\.)|(?<=^[0-9][0-9]\.))|(?i:(?!){_LABELLED}))"
)
_END = r"(?!(?!(?i:vx|wx|we|qq|tel))[0-9A-Za-z])(?!\.[0-9]|-(?!1[3-9][0-9]{9}(?![0-9]))[0-9])"

_DIGIT = re.compile("[0-9]")

_HAN = r"[\u3400-\u9fff]"

_IS = r"\s?[:：是为]?\s?"  # between the name of a number and the number

# Numerals of numbers that are read out; of dates; of amounts.
_SPOKEN, _NUMERAL, _COUNT = (
    "[〇○零一二三四五六七八九幺]",
    "[〇○零一二三四五六七八九十廿卅0-9]",
    "[一二两三四五六七八九十百千万亿几数]",
)

_LOCAL = r"[2-9](?:[0-9]{6,7}|[0-9]{2,3}[ -][0-9]{4})"
_AREA = r"(?:10|2[0-57-9]|[3-9][0-9]{2})"
_CHINA = r"(?:[(（]\+?(?:00)?86[)）][ -]?|\+?(?:00)?86[ -]?)"
_EXTENSION = r"(?:\s?(?:[-转#x]|转接|分机号?|ext\.?)\s?[:：]?[0-9]{1,6}(?![0-9]))?"

_DATE = (
    rf"(?:(?:[0-9]{{4}}|[0-9]{{2}}(?=年)|[〇○零一二三四五六七八九]{{2,4}}(?=年))\s?(?:年|[./-])"
    rf"(?:\s?{_NUMERAL}{{1,3}}\s?(?:月|[./-](?=\s?[0-9])|(?![0-9]))(?:\s?{_NUMERAL}{{1,3}}\s?[日号]?)?)?|[0-9]{{8}}(?![0-9])"
    r"|[0-9]{1,2}[/.-][0-9]{1,2}[/.-][0-9]{4}(?![0-9]))"
)

_AMOUNT = r"(?>[0-9]{1,20}+(?:,[0-9]{3}){0,6}+(?:\.[0-9]{1,6}+)?)(?![0-9])"
_LARGE = "(?:万亿|亿|千万|百万|十万|多万|余万|万|千)"
_CURRENCY = r"(?:人民币|美元|美金|欧元|英镑|日元|港元|港币|台币|新台币|澳元|加元|韩元|卢布|元|块钱|块|圆)"
_FORMAL = "[壹贰叁肆伍陆柒捌玖零拾佰仟万亿]"

_TOP = r"(?:中国|公司|网络|网址|在线|集团|商城|我爱你|香港|台湾|[A-Za-z]{2,})"  # of domains
_PATH = r"(?:[:/?#](?:[!-~]*[A-Za-z0-9/_#=&%-])?)?"

_ROAD = (
    r"(?:大道|大街|胡同|路|街|巷|弄|里|村|屯|道|小区|花园|公寓|大厦|新村|苑|园|广场|社区|宿舍|工业区|开发区|坊|庄|寨)"
    r"(?:[东西南北中]段)?(?:[东西南北]|[A-Z]区|外大街)?"
)
_HOUSE = (
    r"(?:[甲乙丙丁A-Za-z]?(?:[0-9]{1,5}(?:[-—之至][0-9]{1,4})?(?:号楼|号院|号|弄|栋|幢|座|室|组|楼|单元|层|门)"
    r"|(?<!第)[一二三四五六七八九十百]{1,5}+(?:号楼|号院|号|弄|栋|幢|室|组|单元)))"
)
_BETWEEN = rf"(?:(?![第那这的有了是])(?:{_HAN}|[A-Za-z ]))"
_ROOM = (
    rf"(?:{_BETWEEN}{{0,8}}?附?[A-Za-z]?(?:[0-9]{{1,5}}(?:[-—][0-9]{{1,4}}){{0,3}}|[一二三四五六七八九十]{{1,5}}+)"
    r"(?:号楼|号库|号|栋|幢|座|单元|层|楼|室|户|房|门|组|铺)"
    r"|[A-Z](?:座|塔)|[0-9]{1,4}-[0-9]{1,4}(?:-[0-9]{1,4})?|[之附][0-9一二三四五六七八九十]{1,3}|[A-Z]?[0-9]{3,4}(?![0-9]))"
)
# Where an address begins, whatever stands before it: provinces, and the cities that are their capitals.
_PROVINCES = (
    "(?:(?:北京|天津|上海|重庆)市?|(?:河北|山西|辽宁|吉林|黑龙江|江苏|浙江|安徽|福建|江西|山东|河南|湖北|湖南|广东|海南|四川|贵州"
    "|云南|陕西|甘肃|青海|台湾)省|内蒙古|广西|西藏|宁夏|新疆|香港|澳门|(?:石家庄|太原|沈阳|长春|哈尔滨|南京|杭州|合肥|福州|南昌"
    "|济南|郑州|武汉|长沙|广州|海口|成都|贵阳|昆明|西安|兰州|西宁|呼和浩特|南宁|拉萨|银川|乌鲁木齐|深圳|苏州|青岛|大连|宁波|厦门)市)"
)


# ---- the table --------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Rule:
    """What has a form of its own: a row of `RULES`.

    Args:
        about: What it finds, for the table in `tagger help redaction`.
        patterns: What matches is the group `it`, or all of the match.
        holds: Whether a match, without blanks, hyphens and brackets, is one indeed.
        keeps: Whether `holds` needs blanks, hyphens and brackets.
        resembles: Whether a match that does not hold may be a mistyped one; None for never.
        digits: How many digits a text must have for it.
        starts: What leads up to it and is cut off at the start of a match; nothing by default.
    """

    about: str
    patterns: tuple[re.Pattern[str], ...]
    holds: Callable[[str], bool] = lambda found: True
    keeps: bool = False
    resembles: Callable[[str], bool] | None = None
    digits: int = 0
    starts: re.Pattern[str] = re.compile("")

    def matches(self, narrow: str) -> Iterator[tuple[int, int, str]]:
        """Yield start and end of each match in a text that `_narrow` has made, and it as `holds` takes it."""
        for pattern in self.patterns:
            for match in pattern.finditer(narrow):
                start, end = match.span("it" if "it" in pattern.groupindex else 0)
                lead = self.starts.match(narrow, start, end)
                start = lead.end() if lead else start
                found = narrow[start:end]
                yield start, end, found if self.keeps else re.sub("[ ()（）-]", "", found)


def _patterns(*patterns: str) -> tuple[re.Pattern[str], ...]:
    return tuple(map(re.compile, patterns))


RULES = {
    "EMAIL": Rule(
        "e-mail addresses",
        _patterns(
            rf"(?<![A-Za-z0-9.+_-])(?:[A-Za-z0-9.+_-]++|{_HAN}{{1,4}})\s?(?:@|[\[(（]at[\])）])\s?"
            rf"(?:[A-Za-z0-9-]++\.)+[A-Za-z]{{2,}}(?![A-Za-z0-9])",
            rf"(?<![A-Za-z0-9.+_-])(?:[A-Za-z0-9.+_-]++|{_HAN}{{1,4}})@(?:[A-Za-z0-9-]|{_HAN}){{1,30}}"
            rf"(?:\.(?:[A-Za-z0-9-]|{_HAN}){{1,30}}){{0,3}}\.{_TOP}",
        ),
        keeps=True,
    ),
    "URL": Rule(
        "addresses of the web",
        _patterns(
            r"(?i:https?|ftp|wss?)://[!-~]*[A-Za-z0-9/_#=&%-]",
            rf"(?i:https?|ftp)://(?:(?:[A-Za-z0-9-]|{_HAN}){{1,30}}\.){{1,4}}{_TOP}{_PATH}",
            rf"(?<![A-Za-z0-9@.])(?i:www)\.(?:(?:[A-Za-z0-9-]|{_HAN}){{1,60}}\.){{1,4}}{_TOP}{_PATH}",
            r"(?<![A-Za-z0-9@.-])(?:[a-z0-9-]{1,60}\.){1,4}(?:com|cn|org|net|edu|gov|io|cc|top|vip|xyz)(?![A-Za-z0-9.-])"
            + _PATH,
            r"(?<![A-Za-z0-9@.-])(?:[a-z0-9-]{1,60}\.){1,4}[a-z]{2,6}/[!-~]*[A-Za-z0-9]",
        ),
        keeps=True,
    ),
    "IP": Rule(
        "addresses of machines: IPv4, IPv6, MAC",
        _patterns(
            r"(?<![0-9A-Za-z.])(?<!版本)(?<!版本号)[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9A-Za-z]|\.[0-9])",
            r"(?<![0-9A-Za-z.])(?:(?<![0-9A-Fa-f:]:)|(?<=v6:))(?:[0-9A-Fa-f]{0,4}:){2,7}"
            r"(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9A-Fa-f]{0,4})(?![0-9A-Za-z:]|\.[0-9])",
            r"(?<![0-9A-Za-z:-])[0-9A-Fa-f]{2}(?:(?::[0-9A-Fa-f]{2}){5}|(?:-[0-9A-Fa-f]{2}){5})(?![0-9A-Za-z:-])",
        ),
        is_machine,
        keeps=True,
    ),
    "ID_CARD": Rule(
        "numbers of identity cards with a check digit; old ones of 15 digits where the text says so; Hong Kong, Taiwan",
        _patterns(
            rf"{_ALONE}[1-9][0-9]{{5}}[ -]?(?:18|19|20)[0-9]{{2}}[ -]?[0-9]{{4}}[ -]?[0-9]{{3}}[0-9Xx]{_END}",
            rf"(?:身份证|身分证|证件)[^0-9\n]{{0,10}}(?P<it>[1-9][0-9]{{7}}[01][0-9][0-3][0-9]{{4}}){_END}",
            r"(?<![0-9A-Za-z])[A-Z]{1,2}[0-9]{6} ?[(（][0-9A][)）]",
            rf"(?<![0-9A-Za-z])[A-Z][1289][0-9]{{8}}{_END}",
        ),
        is_identity_number,
        resembles=resembles_identity_number,
        digits=7,
    ),
    "CREDIT_CODE": Rule(
        "codes of Chinese organisations, 18 characters with a check character",
        _patterns(
            rf"{_ALONE}(?i:[0-9A-HJ-NP-RTUWXY]{{2}}[0-9]{{6}}[0-9A-HJ-NP-RTUWXY]{{10}}(?![0-9A-Z])){_END}",
        ),
        is_credit_code,
        digits=6,
    ),
    "BANK_CARD": Rule(
        "numbers of payment cards, 13 to 19 digits of a known issuer with a check digit",
        _patterns(
            *(
                f"{_ALONE}{form}{_END}"
                for form in (
                    r"[2-9][0-9]{12,18}",
                    r"[2-9][0-9]{3}(?:[ -][0-9]{4}){2}[ -][0-9]{1,4}",
                    r"[2-9][0-9]{3}(?:[ -][0-9]{4}){3}[ -][0-9]{1,3}",
                    r"[2-9][0-9]{5}[ -][0-9]{10,13}",
                    r"3[0-9]{3}[ -][0-9]{6}[ -][0-9]{4,5}",
                )
            )
        ),
        is_card_number,
        resembles=resembles_card_number,
        digits=13,
    ),
    "PHONE": Rule(
        "mobile and fixed-line numbers of China, with their extensions; others where they begin with + and a country",
        _patterns(
            *(
                f"{_ALONE}{form}{_END}"
                for form in (
                    rf"{_CHINA}?1[3-9][0-9](?:[ .-]?[0-9]{{4}}){{2}}{_EXTENSION}",
                    rf"{_CHINA}?1[3-9][0-9]{{2}}[ -][0-9]{{3}}[ -]?[0-9]{{4}}",
                    r"1 [3-9](?: [0-9]){9}",
                    rf"{_CHINA}?[(（]?0{_AREA}[)）]?[ -]?{_LOCAL}{_EXTENSION}",
                    rf"{_CHINA}[(（]?{_AREA}[)）]?[ -]?{_LOCAL}{_EXTENSION}",
                    rf"[48]00[ -]?(?:[0-9]{{3}}[ -]?[0-9]{{4}}|[0-9]{{4}}[ -]?[0-9]{{3}}){_EXTENSION}",
                    r"09[0-9]{2}[ -]?[0-9]{3}[ -]?[0-9]{3}",
                    r"\+[1-9](?:[ -]?[(（]?[0-9]{1,4}[)）]?){2,6}",
                    r"[(（]?(?:00)?(?:852|853|886)[)）]?[ -][2-9][0-9]{3}[ -]?[0-9]{4}",
                )
            ),
            rf"(?:电话|座机|固话|传真|手机|(?i:tel|fax))(?:号码?)?{_IS}"
            rf"(?P<it>[2-9][0-9]{{2,3}}[ -]?[0-9]{{4}}{_EXTENSION}){_END}",
            rf"(?<=1[3-9][0-9]{{9}}-)1[3-9][0-9]{{9}}{_END}",
            rf"(?<!{_SPOKEN})[一幺][三四五六七八九]{_SPOKEN}{{9}}(?!{_SPOKEN})",
        ),
        lambda found: len(found) >= 7,
    ),
    "ACCOUNT": Rule(
        "names and numbers of accounts in QQ, WeChat and the like, where the text says so",
        _patterns(
            rf"(?i:qq|企鹅|扣扣)(?:号码?|群号?)?{_IS}(?P<it>[1-9][0-9]{{4,10}}){_END}",
            r"(?:(?i:微信|薇信|v信|vx|wechat)(?:号码?|(?i:id))?|(?:微博|抖音|小红书|支付宝|快手|陌陌)(?:账号|号|(?i:id)))"
            r"(?:\s?[:：是为]\s?|(?<=[号Dd])\s?)@?(?P<it>[A-Za-z0-9_][A-Za-z0-9_.-]{4,29})",
            r"(?:(?i:微信|薇信|v信|vx)|(?<![A-Za-z])[加+][vV])[:：]?\s?"
            r"(?P<it>(?=[A-Za-z-]{1,19}[0-9_])[A-Za-z][A-Za-z0-9_-]{5,19})",
            r"(?<![A-Za-z0-9_])(?P<it>wxid_[A-Za-z0-9]{6,})",
        ),
        keeps=True,
    ),
    "DOCUMENT": Rule(
        "numbers of passports, permits, licences, insured people, patients and pupils, where the text says so",
        _patterns(
            r"(?:护照|通行证|回乡证|台胞证|军官证|驾驶证|驾照|社保|医保|病历|住院|门诊|学籍|档案|考生|准考证|学号|工号|保单|社会保障"
            r"|(?i:passport))"
            rf"(?:卡|档案)?[(（]?(?:号码?|编号|证号|(?i:\s?no\.?))?{_IS}(?P<it>[A-Za-z]{{0,3}}[0-9][0-9-]{{4,18}}[0-9Xx])(?![0-9])",
        ),
    ),
    "PLATE": Rule(
        "licence plates of China",
        _patterns(
            r"[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼][ ·]?[A-HJ-Za-hj-z][ ·・•-]?"
            r"(?=[A-Za-z]{0,5}[0-9])(?:[A-HJ-NP-Z0-9]{4}[A-HJ-NP-Z0-9挂学警港澳领试超]|[A-HJ-NP-Z0-9]{6}"
            r"|[a-hj-np-z]{0,2}[0-9]{3,5}[a-hj-np-z]{0,2}(?<=[A-Za-z0-9]{5}))(?![A-Za-z0-9])",
            r"(?<![A-Za-z0-9])(?:使 ?[0-9]{6}|WJ ?[\u4e00-\u9fff] ?[0-9]{4}[0-9A-Z])(?![A-Za-z0-9])",
        ),
        keeps=True,
    ),
    "BIRTH_DATE": Rule(
        "dates of birth, where the text says so",
        _patterns(
            r"(?:出生(?:日期|年月日|年月|时间)?|生日|生辰|生于|诞生于|(?i:dob|born(?: on)?))"
            rf"[\s:：为是于在(（]{{0,3}}(?P<it>{_DATE})",
            r"生日[\s:：为是在]{0,3}(?P<it>(?:农历|阴历|阳历)?[0-9一二三四五六七八九十正腊]{1,2}月"
            r"(?:初|[0-9一二三四五六七八九十廿])[0-9一二三四五六七八九十]{0,2}[日号]?)",
            rf"(?P<it>{_DATE})(?:[(（][^)）\n]{{0,12}}[)）])?(?:出生|诞生|生人|生(?=[，,。；;、）)\s于]|$))",
        ),
        keeps=True,
    ),
    "MONEY": Rule(
        "amounts of money",
        _patterns(
            rf"(?:(?:HK|US|NT|S|A|C)?[¥￥$€£]|(?<![0-9A-Za-z])(?:RMB|CNY|USD|HKD)|人民币)\s?{_AMOUNT}\s?{_LARGE}?{_CURRENCY}?",
            rf"(?<![0-9.]){_AMOUNT}\s?{_LARGE}?\s?多?余?(?:{_CURRENCY}|(?:RMB|CNY|USD|HKD)(?![A-Za-z0-9]))",
            rf"(?<!{_FORMAL}){_FORMAL}{{1,30}}+[元圆](?:[壹贰叁肆伍陆柒捌玖零]角)?(?:[壹贰叁肆伍陆柒捌玖零]分)?[整正]?",
            rf"(?<!{_COUNT}){_COUNT}{{1,20}}+多?(?:块钱|(?![元块圆]){_CURRENCY}|元(?![旦宵月年素里次]))",
            rf"(?:月薪|年薪|工资|薪资|月收入|年收入)[^0-9\n]{{0,4}}(?P<it>{_AMOUNT}\s?(?:万|千|[kKwW](?![A-Za-z]))?)",
        ),
        keeps=True,
    ),
    # Atomic groups, (?>...), keep the time linear: what they have matched is not tried in other ways.
    "ADDRESS": Rule(
        "postal addresses, down to a house or a room",
        _patterns(
            rf"(?>{_HAN}{{2,7}}?(?:省|自治区))?+(?>{_HAN}{{2,7}}?(?:市|自治州|地区|盟))?+"
            rf"(?>{_HAN}{{1,7}}?(?:(?<![小社])区|县|旗|市))?+(?>{_HAN}{{1,7}}?(?:街道|镇|乡))?+"
            rf"{_HAN}{{1,9}}?{_ROAD}(?:{_BETWEEN}{{0,10}}?{_HOUSE})(?:{_ROOM}){{0,6}}",
            r"(?<![0-9A-Za-z])[A-Z]?[0-9]{1,3}(?:号楼|号院|栋|幢|座|单元)(?:[0-9一二三四五六七八九十]{1,4}(?:单元|层|楼|室|号|户))+",
        ),
        keeps=True,
        starts=re.compile(
            rf"(?>{_HAN}{{0,12}}?(?={_PROVINCES})|{_HAN}{{0,8}}?(?:住在|家住|住址|现住|住|位于|坐落|地址"
            rf"|(?:[寄送发]|邮)(?:[到至给往]|(?={_HAN}{{2,4}}[省市]))|在|到|往|是)+(?={_HAN}{{2}}))"
        ),
    ),
}


# ---- applying them ------------------------------------------------------------------------------------------------
def matches(text: str, names: Iterable[str] = tuple(RULES)) -> Iterator[Span]:
    """Yield what rules match in a text; matches may overlap.

    Args:
        text: Any string.
        names: Of the rules to apply.
    """
    narrow = _narrow(text)
    digits = len(_DIGIT.findall(narrow))
    for name in names:
        rule = RULES[name]
        if digits >= rule.digits:
            yield from (Span(start, end, name) for start, end, found in rule.matches(narrow) if rule.holds(found))


def look_alikes(text: str, names: Iterable[str] = tuple(RULES)) -> Iterator[Span]:
    """Yield what may be a mistyped number: all is right but the check digit; in order, and apart."""
    narrow = _narrow(text)
    digits = len(_DIGIT.findall(narrow))
    spans = (
        Span(start, end, name)
        for name in names
        if (resembles := RULES[name].resembles) and digits >= RULES[name].digits
        for start, end, found in RULES[name].matches(narrow)
        if not RULES[name].holds(found) and resembles(found)
    )
    yield from without_overlaps(spans, Notes())


def _narrow(text: str) -> str:
    """Return a text as the patterns see it: one character for each."""
    return simplified(text.translate(_narrow_table()))


@cache
def _narrow_table() -> dict[int, str]:
    """Map full-width letters, digits and signs of addresses, kinds of blanks and of hyphens to ASCII."""
    wide = {0xFEE0 + ord(sign): sign for sign in string.ascii_letters + string.digits + "@.+-_/&=#?%"}
    blanks = dict.fromkeys((0xA0, 0x3000, 0x202F, *range(0x2002, 0x200B)), " ")
    return {**wide, **blanks, **dict.fromkeys((*range(0x2010, 0x2014), 0x2212), "-")}
