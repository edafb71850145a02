"""Units: what a written unit measures, and whether words look like a unit.

A unit is a factor and powers of bases. Bases are the SI's, money by currency, and any noun that is counted,
so that two units are the same exactly if both agree: kJ is 1000 J, m s^-1 is m/s, and apples are not pears.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

from menon.reward.math.lexicon import AFTER, LINKS, NOUNS, names_in

LONGEST = 6
"""Most words of a unit that is no known one."""

_BASES = """
m = meter meters metre metres mètre mètres metro metros metri метр метра метров м 米 メートル 미터
in = inch inches, 254/10000 m
ft = foot feet, 3048/10000 m
yd = yard yards, 9144/10000 m
mi = mile miles, 1609344/1000 m
公里 = 千米 킬로미터, 1000 m
kilomètre = kilomètres kilómetro kilómetros chilometro chilometri quilômetros километр, 1000 m
kilomètre = километра километров км, 1000 m
厘米 = см centimètres centímetros センチ 센티미터, 1/100 m
毫米 = мм 밀리미터, 1/1000 m
分米 = , 1/10 m
g = gram grams gramme grammes gm грамм граммов г 克 グラム 그램
kilogramm = キロ kilogrammes kilogramos килограмм килограммов кг 千克 公斤 킬로그램 kilo kilos, 1000 g
tonne = tonnes t ton tons 吨, 1000000 g
lb = lbs pound pounds
oz = ounce ounces, 1/16 lb
s = sec secs second seconds seconde secondes segundo segundos secondi sekunde sekunden секунда
s = секунды секунд сек с 秒 초
min = mins minute minutes minuten minuto minutos minuti минута минуты минут мин 分钟 分 분, 60 s
h = hr hrs hour hours heure heures hora horas ora ore stunde stunden час часа часов ч 小时, 3600 s
h = 小時 时 時間 시간, 3600 s
day = days jour jours día días dia dias tag tage giorno giorni день дня дней 天 日 일, 86400 s
week = weeks wk wks semaine semaines semana semanas woche wochen settimana settimane неделя, 604800 s
week = недели недель 周 星期 週間 주, 604800 s
month = months mois mes meses monat monate mese mesi месяц месяца месяцев 月 个月 ヶ月 개월
year = years yr yrs an ans année années año años jahr jahre anno anni ano anos год года, 12 month
year = лет 年 岁 歳 년 살, 12 month
l = L liter liters litre litres litros литр литра литров 升 リットル 리터, 1/1000 m^3
毫升 = , 1/1000000 m^3
gal = gallon gallons
quart = quarts qt, 1/4 gal
pint = pints pt, 1/8 gal
cup = cups, 1/16 gal
tablespoon = tablespoons tbsp tbs, 1/256 gal
teaspoon = teaspoons tsp, 1/768 gal
acre = acres, 43560 ft^2
hectare = hectares ha 公顷, 10000 m^2
亩 = 
N = newton newtons, 1000 g m s^-2
J = joule joules, 1 N m
W = watt watts, 1 J s^-1
Wh = , 3600 J
cal = calorie calories
eV = electronvolt electronvolts
Pa = pascal pascals, 1 N m^-2
atm = atmosphere atmospheres
A = amp amps ampere amperes
C = coulomb coulombs, 1 A s
V = volt volts, 1 J C^-1
Ω = ohm ohms, 1 V A^-1
F = farad farads, 1 C V^-1
T = tesla teslas
H = henry henries
Hz = hertz, 1 s^-1
mol = mole moles
K = kelvin kelvins
°C = celsius ℃ °c
°F = fahrenheit °f
degree = degrees deg degré degrés grado grados grad gradi градус градуса градусов 度
rad = radian radians
rev = revolution revolutions
rpm = , 1/60 rev s^-1
bit = bits
B = byte bytes, 8 bit
kph = kmh kmph, 1000/3600 m s^-1
mph = , 1609344/3600000 m s^-1
knot = knots
dollar = dollars usd $ US$ bucks buck dólares 美元 美金 ドル 달러
cent = cents ¢ penny pennies, 1/100 dollar
euro = euros eur € 欧元
gbp = £ sterling
pence = , 1/100 gbp
rupee = rupees inr rs ₹
ruble = rubles rouble roubles рубль рубля рублей руб ₽
yuan = rmb cny 元 块 块钱 人民币
角 = , 1/10 yuan
yen = jpy 円
¥ = 
won = krw 원 ₩
peso = pesos
franc = francs chf
reais = 
percent = percentage pct prozent процент процента процентов
unit = units
S = siemens
Å = angstrom angstroms
dB = decibel decibels
u = amu
ppm =
ppb =
psi =
bar = bars
ly = lightyear lightyears
AU =
BTU =
hp = horsepower
Wb = weber webers
lx = lux
cd = candela candelas
lm = lumen lumens
fps = , 3048/10000 m s^-1
cent = 美分, 1/100 dollar
яблоко = яблок яблока
способ = способов способа
ученик = учеников ученика
ребенок = детей
книга = книг книги
число = чисел числа
решение = решений решения
time = times 倍 倍 回 次 번
way = ways 种 種 通り 가지
ordinal = th st nd rd
person = people persons 人 名 位 명 человек человека
piece = pieces pcs 个 個 个球 件 只 支 点 题 页 句 字 层 排 班 组 家 间 座 栋 份 道 首 粒 步 圈 场 局 双
piece = 枝 条 张 本 棵 朵 辆 头 颗 根 块儿 枚 匹
piece = つ 台 개 마리 권 장 штук штуки stück pièces piezas pezzi
"""
_PREFIXES = {
    "p": Fraction(1, 10**12),
    "n": Fraction(1, 10**9),
    "µ": Fraction(1, 10**6),
    "μ": Fraction(1, 10**6),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    "c": Fraction(1, 100),
    "d": Fraction(1, 10),
    "k": Fraction(1000),
    "M": Fraction(10**6),
    "G": Fraction(10**9),
    "T": Fraction(10**12),
}
_PREFIXED = names_in("m g s l L N J W Wh Pa V A C F Hz eV cal mol bit B Ω T H")
_SPOKEN = {"nano": "n", "micro": "u", "milli": "m", "centi": "c", "kilo": "k", "mega": "M", "giga": "G"}
_SPOKEN_OF = """
m meter metre
g gram
s second
l liter litre
N newton
J joule
W watt
Pa pascal
V volt
A ampere amp
Hz hertz
eV electronvolt
cal calorie
mol mole
bit bit
B byte
"""
_DIGIT = re.compile(r"\^\(?([+-]?\d)\)?")
_PART = re.compile(r"[/*·]|\^\(?[+-]?\d\)?|[^\s/*·^]+")
_WORDS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3, "平方": 2, "立方": 3}
_RAISED = {"squared": 2, "cubed": 3}
_LETTERS = names_in("m s g h L N J W V A K C T F Ω")
_CLOSE_LETTERS = names_in("m s g h L N J W V Ω")
_SYMBOLS = names_in("ft yd mi lb lbs oz min hr hrs rad rev rpm mph kph atm ha in")
"""Symbols without a prefix that are units where they stand bare after a number."""
_CAPITALS = names_in("cm km kg ft in lb lbs hr hrs min sec usd eur gbp inr rs cny rmb jpy krw mph")
"""Symbols of two or three letters that are also written in capital letters."""
_MONEY = names_in("dollar euro gbp rupee ruble yuan yen ¥ won peso franc reais")
_CHINESE = re.compile(r"[\u4e00-\u9fff]{1,4}")
_CHANGING = frozenset(
    "不非没無无以上下多少或和倍半百千万萬亿億分至到超未近左右间除加减乘比最大小约余几数错对是否可能之的成折内外中前后"
)
"""Signs that may change a value, of which no noun after a measure word may consist."""
_ARTICLE = re.compile(r"^(?:in|of) (?:the |a |an )?")


_PLAIN = {
    **dict.fromkeys(
        ("degrees", "deg", "degré", "degrés", "grado", "grados", "градус", "градусов", "度"), "degree"
    ),
    **dict.fromkeys(("percentage", "pct", "prozent", "процент", "процентов"), "percent"),
    **dict.fromkeys(("per cent", "pour cent", "por ciento", "per cento", "por cento"), "percent"),
}
"""Names of the two units with which the verifier calculates."""


@dataclass(frozen=True)
class Measure:
    factor: Fraction
    powers: frozenset[tuple[str, int]]
    known: bool
    """Whether every base is in the table."""


@cache
def table() -> dict[str, Measure]:
    """Names and symbols of units -> what they measure. Symbols keep their case, names are in small
    letters."""
    found: dict[str, Measure] = {}
    for line in _BASES.strip().splitlines():
        names, _, meaning = line.partition(",")
        symbol, _, others = names.partition("=")
        amount, _, of = meaning.strip().partition(" ")
        one = Measure(Fraction(1), frozenset({(symbol.strip(), 1)}), True)
        if amount:
            other = product([(name, power) for name, power in parts(of)], found)
            one = Measure(Fraction(amount) * other.factor, other.powers, True)
        for name in (symbol.strip(), *others.split()):
            found.setdefault(name, one)
    symbols = {name: found[name] for name in _PREFIXED}
    for prefix, scale in _PREFIXES.items():
        for name, one in symbols.items():
            if prefix not in "cd" or name in ("m", "l", "L"):
                found.setdefault(prefix + name, Measure(scale * one.factor, one.powers, True))
    for group in _SPOKEN_OF.strip().splitlines():
        name, *spoken = group.split()
        for word, prefix in _SPOKEN.items():
            one = Measure(_PREFIXES[prefix] * symbols[name].factor, symbols[name].powers, True)
            for ending in ("", "s"):
                found |= {word + each + ending: one for each in spoken}
    return found


def known(word: str) -> str | None:
    """The name in the table of a word as written, or None: `Pa` and `Feet`, but not `PA`."""
    if word in table():
        return word
    low = word.lower()
    return low if low in table() and (len(low) > 3 or not low.isascii() or low in _CAPITALS) else None


def plain_name(name: str) -> str:
    """The name of a unit, one and the same for degrees and for percent."""
    return _PLAIN.get(name.lower(), name)


def bare_unit(text: str, gap: bool) -> bool:
    """Whether letters may be a unit where they stand bare after a number; `gap`: after a space."""
    if len(text) == 1:
        return text in (_LETTERS if gap else _CLOSE_LETTERS)
    prefixed = text[0] in _PREFIXES and text[1:] in _PREFIXED and text != "us"
    return prefixed or text in _PREFIXED | _SYMBOLS or (len(text) > 3 and known(text) is not None)


def parts(text: str) -> list[tuple[str, int]]:
    """The words of a unit with their powers: `km/h` is km and h^-1, `square feet` is ft^2."""
    found: list[tuple[str, int]] = []
    sign, next_power = 1, 1
    for piece in _PART.findall(text):
        low = piece.lower().rstrip(".")
        if (raised := _DIGIT.fullmatch(piece)) and found:
            found[-1] = (found[-1][0], found[-1][1] * int(raised[1]))
        elif low in _RAISED and found:
            found[-1] = (found[-1][0], found[-1][1] * _RAISED[low])
        elif piece == "/" or low in ("per", "pro", "par"):
            sign = -1
        elif low in ("a", "an", "each", "every") and found:
            sign = -1  # dollars a day
        elif low in _WORDS:
            next_power = _WORDS[low]
        elif piece not in "*·" and low not in LINKS | AFTER:
            found.append((piece.rstrip("."), sign * next_power))
            sign, next_power = 1, 1
    return found


def product(factors: list[tuple[str, int]], of: dict[str, Measure]) -> Measure:
    factor, powers, all_known = Fraction(1), dict[str, int](), True
    for word, power in factors:
        name = word if word in of else known(word) if of is table() else None
        one = of[name] if name else Measure(Fraction(1), frozenset({(counted(word), 1)}), False)
        factor *= one.factor**power
        all_known &= one.known
        for base, exponent in one.powers:
            powers[base] = powers.get(base, 0) + exponent * power
    return Measure(factor, frozenset((base, power) for base, power in powers.items() if power), all_known)


def counted(word: str) -> str:
    """A noun in one form: small letters, without the ending of a plural."""
    low = word.lower()
    return low[:-1] if len(low) > 3 and low.endswith("s") and not low.endswith("ss") else low


@cache
def spelt(text: str) -> str:
    """Phrases that are one unit as one word."""
    for phrase, one in (
        (r"(?:degrees?|°) (?:celsius|c)\b", "°C"),
        (r"(?:degrees?|°) (?:fahrenheit|f)\b", "°F"),
        (r"pounds? sterling|british pounds?", "gbp"),
        (r"u\.?s\.? dollars?", "dollar"),
        (r"(平方|立方)(?=\S)", r"\1 "),
        (r"(?:miles|mi) (?:per|an) hour", "mph"),
        (r"per cent|pour cent|por ciento|per cento|por cento", "percent"),
    ):
        text = re.sub(f"(?i){phrase}", one, text)
    return text


@cache
def measure(text: str) -> Measure:
    return product(parts(spelt(text)), table())


def same_unit(one: str, other: str) -> Fraction | None:
    """How many of `other` are one of `one`; None if they measure different things."""
    left, right = measure(one), measure(other)
    powers = [frozenset(_money(base, power) for base, power in each.powers) for each in (left, right)]
    if left.powers == right.powers or (powers[0] == powers[1] and ("¥", 1) in left.powers ^ right.powers):
        return left.factor / right.factor
    return None


def _money(base: str, power: int) -> tuple[str, int]:
    """The sign ¥ stands for two currencies."""
    return ("¥" if base in ("yuan", "yen") else base, power)


def looks_like_unit(text: str) -> bool:
    """Whether words after a value may be left out: units that are known, nouns in the plural, parts of a
    whole. Words in other scripts must be known."""
    if measure(text).known:
        scaled = re.search(r"\b[BKT]\b", text) and any(base in _MONEY for base, _ in measure(text).powers)
        return not scaled and text != "B"  # $5 K is 5000, and 5 B five billion
    if re.match(r"(?i)of (?:the|a|an|his|her|their|its|them|all)\b", text):
        return text.isascii() and len(text.split()) <= LONGEST
    words = [word for word, _ in parts(spelt(text))]
    if len(words) == 2 and known(words[0]) and not _CHANGING & set(words[1]) and _CHINESE.fullmatch(words[1]):
        return True  # a measure word and what it counts
    unknown = [word for word in words if not known(word)]
    if len(words) > LONGEST or not all(word.replace("-", "").isalpha() and is_latin(word) for word in words):
        return False
    head = re.split(r"(?i)\s+(?:of|in|per|for|to|on)\s+|\s*/\s*", _ARTICLE.sub("", text))[0].split()
    head = [word for word in head if word.lower() not in LINKS | AFTER]
    return len(unknown) <= 4 and bool(head) and is_noun(head[-1])


def is_noun(word: str) -> bool:
    low = word.lower().rstrip(".")
    plural = len(low) > 3 and low.endswith("s") and not low.endswith(("ss", "ous", "wards"))
    return bool(known(word)) or low in NOUNS or plural


def is_latin(word: str) -> bool:
    return all(ord(letter) < 0x250 for letter in word)
