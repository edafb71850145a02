"""Words that may stand beside a value in an answer, in the languages in which the extraction finds answers.

Each table gives words a meaning. A word that no table and no unit explains makes an answer unreadable
(`wording`), so that a missing word costs a refusal and never an acceptance.
"""


def rows(table: str) -> dict[str, str]:
    """`meaning: phrase, phrase` per line, as phrase -> meaning."""
    pairs = (line.split(": ", 1) for line in table.strip().splitlines())
    return {phrase: meaning for meaning, phrases in pairs for phrase in phrases.split(", ")}


def names_in(table: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(table.split())


def phrases_in(table: str) -> frozenset[str]:
    """The phrases of a text, which commas or line ends separate."""
    return frozenset(
        phrase.strip() for line in table.splitlines() for phrase in line.split(",") if phrase.strip()
    )


MULTIPLIERS = {
    phrase: int(power)
    for phrase, power in rows(
        """
10: ten, tens, 十
12: dozen, dozens, docena, docenas, douzaine, douzaines, dutzend, dozzina, dozzine, dúzia
12: dúzias, дюжина, дюжин
100: hundred, hundreds, cien, cientos, hundert, cento, centinaia, centena, centenas, сотня
100: сотен, 百, 백
1000: tsd, thousand, thousands, mil, mille, milliers, millier, mila, tausend, тыс, тысяча
1000: тысячи, тысяч, 千, 천
100000: lakh, lakhs
10000: 万, 萬, 만
1000000: mio, million, millions, mn, millón, millones, millionen, milione, milioni, milhão
1000000: milhões, млн, миллион, миллиона, миллионов, 百万, 백만
10000000: crore, crores, 千万, 천만
100000000: 亿, 億, 억
1000000000: mrd, billion, billions, bn, milliard, milliards, milliarde, milliarden, miliardo
1000000000: miliardi, bilhão, bilhões, млрд, миллиард, миллиарда, миллиардов, 十亿
1000000000000: trillion, trillions, 兆, 万亿
"""
    ).items()
}
"""A number word after a value. Words that mean different numbers in different languages are absent."""

HALVES = rows(
    """
1/2: and a half, and one half, and half, et demi, et demie, y medio, y media, e mezzo
1/2: e mezza, e meio, e meia, с половиной, 半, 个半, 点半, 반
1/4: and a quarter, and one quarter, y cuarto, et quart, e un quarto
3/4: and three quarters
1/3: and a third, and one third
2/3: and two thirds
"""
)
"""A fraction that is added to the whole number before it."""

SIGNS = rows(
    """
-: negative, minus, negativ, négatif, moins, menos, meno, negativo, минус, 负, 負, マイナス, 마이너스
+: positive, positiv
"""
)
"""A sign before a value."""

OPERATORS = rows(
    """
=: is, are, equals, is equal to, equal to, est, est égal à, vaut, ist, beträgt, es, es igual a, è, vale, é
=: é igual a, равно, равен, равна, 的值是, 的值为, 的值為, 的值等于, 是, 为, 等于, の値は, 의 값은, 은, 는
\\in: is in, belongs to, lies in, is an element of
+: plus, added to, más, più, mais, плюс, 加
-: minus, moins, menos, meno, минус, 减
*: times, multiplied by, fois, por, mal, volte, vezes, умножить на, 乘, 乘以
/: over, divided by, sur, geteilt durch, 除以, out of
:: to, zu, 比
"""
)
"""An operator between two values."""

POWERS = {"squared": "2", "cubed": "3", "的平方": "2", "的立方": "3", "au carré": "2", "al cuadrado": "2"}

JOINERS = rows(
    """
and: and, as well as, und, et, и, 和, 及, 与, 與, 以及, と, 과, 와
or: or, ou, oder, или, 或, 或者, または, 또는, alternatively
"""
)
LETTER_JOINERS = {"y": "and", "e": "and", "i": "and", "o": "or", "u": "or"}
"""Joiners of one letter, which count only between spaces and two values."""

REFUSED = names_in("""
    pairs grosses maybes guesses roots
    always sometimes towards afterwards negatives opposites inverses reciprocals plusses minuses
    toujours alors après ailleurs dehors puis hors dans vers très quelques plusieurs doubles triples paires
    después antes detrás jamás entonces apenas tras dobles pares veintenas centenares millares avos doceavos
    depois após aliás demais milhares trilhões dezenas falls jenseits abwärts aufwärts meistens erstens
    décimos centésimos milésimos sextos séptimos octavos novenos sétimos oitavos nonos
    décimas mitades vingtaines trentaines moitiés metades others among etc
    two three four five six seven eight nine eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety
    doz dozs mils mods negs exps nots errs nays noes subs
    gros too few anti non
    wrongs lies tops fails works equals becomes seems exceeds misses differs
    not no never neither nor none except without isn't aren't wasn't don't doesn't can't cannot wrong
    incorrect
    false isnt excluding excluded besides instead unlike
    is was were be been has have had does do did as this these those its it thus hence unless versus vs
    if when
    else otherwise but however than
    more less fewer most least greater smaller larger higher lower above below under beyond exceeding
    exceeds up
    down over maximum minimum max between within plus/minus
    maybe perhaps possibly probably could might may should would guess candidate likely unlikely unsure
    twice thrice double doubled triple tripled quadruple quadrupled half halved halves third thirds
    quarter
    quarters fourths fifth fifths sixth sixths sevenths eighth eighths ninths tenth tenths hundredth
    hundredths
    thousandth thousandths millionth millionths score scores gross googol googols quadrillion quadrillions
    quintillion quintillions zillions myriad myriads
    opposite reciprocal inverse root square-root sqrt cube-root factorial factorials power powers log ln
    exp sin
    cos tan conjugate complement negated remainder mod modulo percentile
    ones twos threes fours fives sixes sevens eights nines
    times multiplied divided added subtracted minus plus less
    ne pas non sans sauf faux plus moins fois mais deux trois quatre cinq six sept huit neuf dix tiers
    quarts
    demis dizaines centaines inférieur supérieur environs presque jamais
    sin menos más mas veces tres seis dos siete ocho nueve diez medios tercios cuartos quintos decenas
    miles
    billones billón quizás además unos unas o y
    mais menos vezes dois três seis dez meios terços talvez não
    nicht kein keine mehr weniger mindestens höchstens als bis mal halb eins sechs nichts
    più meno volte metà nessuno forse trilioni billions
    """)
"""Words that change, deny, bound or double a value; beside one they make an answer unreadable."""

BEFORE = names_in("""
    the a an so thus hence therefore then finally we get have find obtain conclude this that it is are
    equals
    equal be answer answers final correct result results solution solutions value values total area volume
    perimeter circumference length width height radius diameter cost price profit speed velocity time
    distance
    number sum probability mean average median mode ratio of for to at x-coordinate y-coordinate
    coordinates
    set interval domain remainder product difference quotient triangle circle rectangle side sides
    expression smallest largest biggest required desired length segment
    valeur nombre somme aire wert zahl summe fläche valor número suma área valore numero somma valor soma
    значение число сумма площадь выражения x-value de du des von der del di do da
    point has there will and slope angle measure age weight mass amount range
    either exactly only just simply approximately approx about around roughly circa ca nearly
    la le les réponse est donc environ exactement el respuesta es por tanto aproximadamente unos
    die der das antwort lautet ist also etwa ungefähr genau il risposta è quindi circa a resposta é
    portanto
    ответ итак около примерно равно равен
    一共 共 共有 总共 總共 合计 答案 答案是 答案为 答案為 答 解 解得 得 等于 為 为 是 所以 因此 故 约
    约为 大约 有 还剩
    全部で 合計 約 答え 答えは は 총 약 정답은 답은
    """)
"""Words that may introduce a value. `is` and `are` do so; after a value they begin a claim about it."""

AFTER = names_in("""
    altogether together overall exactly only respectively each left remain remaining remains are
    old tall long wide deep high thick away apart
    approximately approx approximate rounded any all different distinct possible exact
    respectivement chacun respectivamente insgesamt jeweils ciascuno всего соответственно
    左右 整 。 です だ 입니다 이다
    """)
"""Words that may follow a value or its unit without changing it."""

LINKS = names_in("of the a an per each every de du des la le del der pro par por al")
"""Words inside a unit: dollars a day, pieces of the cake."""

ASIDES = frozenset(
    [
        *(
            "is left",
            "is the answer",
            "is the final answer",
            "is the result",
            "is the solution",
            "is correct",
        ),
        *("are the answers", "are the solutions", "as required", "as desired", "is the value"),
        *("in total", "en tout", "au total", "cada uno", "in totale", "en total", "no total", "all together"),
        *("in all", "at all", "in the end", "is the total", "the maximum value is", "the minimum value is"),
        *("maximum value", "minimum value", "times as many", "times as much", "times as long"),
        *("maximum value is", "minimum value is", "the least value is", "the greatest value is"),
    ]
)
"""Phrases that are harmless although a word of theirs alone would not be."""

NOUNS = names_in("""
    personen schüler äpfel bücher kinder münzen mele persone studenti libri monete modi cacti
    text men women people children sheep fish feet teeth mice deer geese cattle folk dice data
    solution way apple cake pizza pie pair person child student ball book item point digit root team
    game ticket
    page coin integer value number piece triangle egg box bag bottle card step tile tree word house group
    way time man woman north south east west northeast northwest southeast southwest
    ace act age aid ant ape arm axe bat bed bee bet bid bin bow boy bud bug bun bus cab can cap car cat cod
    cow cub cup cut day den dog dot ear eel elk elm emu ewe eye fan fee fig fin fir fit fly fox fur gap gas
    gem gum gun gym hat hen hit hog hop hub hut ice ink inn jam jar jet job jug key kid kit lap leg lid lip
    log lot map mat mug nap net nun nut oak oar oat oil owl pad pan paw pea peg pen pet pig pin pit pod pot
    pub pup ram rat ray rib rod row rug run saw sea set sip ski son spa spy sub tax tea tie tin tip toe ton
    top toy tub van vet vow wax web wig win yak yam zoo pts pc hrs mins secs eier uhr oeufs
    """)
"""Nouns that look like a unit of counting although they do not end in s."""

FOUR_LETTERS = frozenset(
    word
    for words in (
        MULTIPLIERS,
        JOINERS,
        SIGNS,
        OPERATORS,
        REFUSED,
        BEFORE,
        AFTER,
        NOUNS,
        ["half", "feet", "inch", "hour", "year"],
    )
    for word in words
    if len(word) == 4
)
"""Words of four letters that are no product of variables."""

NO_SOLUTION = phrases_in("""
    no solution, no solutions, none, no such x exists, no real solution
    no real solutions, there is no solution
    there are no solutions, no solution exists, no solutions exist, no real roots, empty set
    nosolution, no such solution, none exist, pas de solution, aucune solution, ensemble vide
    keine lösung, keine lösungen, leere menge, sin solución, conjunto vacío, no tiene solución
    no hay solución, nessuna soluzione, insieme vuoto, sem solução, conjunto vazio, нет решений
    нет решения, пустое множество, 无解, 無解, 没有解, 方程无解, 空集, 無實數解, 无实数解, 无实根
    解なし, 空集合, 해가 없다, 해가 없음, 해 없음, 공집합, has no solution, has no solutions
    has no real solutions, the equation has no solution, the equation has no real solutions
    the system has no solution, null set
    """)
"""Answers in words that name the empty set."""

ALL_REALS = phrases_in("""
    all real numbers, all reals, any real number, every real number, set of all real numbers
    set of real numbers, real numbers, reals, all real values, all real x, all real numbers x
    x is any real number, tous les réels, alle reellen zahlen, todos los números reales
    todos los reales, tutti i numeri reali, todos os números reais, все действительные числа
    任意实数, 全体实数, 一切实数, 所有实数, 实数集, すべての実数, 全ての実数, 모든 실수
    """)
"""Answers in words that name the real numbers."""
