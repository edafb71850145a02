r"""Pairs of a gold answer and a stated one, a line each, about words, units, times and layouts; by our own
hand."""


def pairs(table: str) -> list[tuple[str, str]]:
    """The lines `gold ~~ stated` of a table."""
    split = (line.split(" ~~ ", 1) for line in table.strip().splitlines())
    return [(gold.strip(), stated.strip()) for gold, stated in split]


SAME = pairs(r"""
5000000 ~~ \$5\text{ million}
5000000 ~~ 5 million people
5200000 ~~ 5.2\text{ million}
500000 ~~ \frac12\text{ million}
60 ~~ 5\text{ dozen eggs}
50000 ~~ 5万元
5000000 ~~ 5\text{ Millionen}
5000000 ~~ 5 млн
-5 ~~ \text{negative }5\text{ degrees}
negative 5 ~~ -5
-5 ~~ 负5
3.75 ~~ 3\text{ and three quarters}
3.5 ~~ 3\text{ and a half}\text{ miles}
2.5 ~~ 2小时半
12/13 ~~ 12\text{ over }13
15 ~~ 12\text{ plus }3
25 ~~ 5\text{ squared}
120 ~~ 5\text{ factorial}
2,3 ~~ 2和3
2,3 ~~ 2\text{ y }3
2,3 ~~ x=2\text{ ou }x=3
42 ~~ 42 apples are left.
42 ~~ \text{There are }42\text{ apples}
42 ~~ \text{Total cost: } \$42
42 ~~ 42\text{ pieces of candy}
42 ~~ 42\text{ positive integers}
42 ~~ 42\text{ élèves}
42 ~~ 42 человек
42 ~~ 42名学生
42 ~~ 答えは42です
42 ~~ 정답은 42입니다
5 ~~ 5\text{ (because }x>0\text{)}
\sqrt{2} ~~ \text{Final answer: B: } \sqrt{2}
480+480\sqrt3 ~~ 480+480\sqrt3\text{ feet}
5 ~~ 5\,\mu\text{m}
5 ~~ 5\,\text{k}\Omega
42 ~~ 42\ \mathrm{W/(m^2 K)}
42 ~~ 42 MHz
42 ~~ 42\text{ K}
25 ~~ 25℃
5\text{ m/s}^2 ~~ 5\text{ m s}^{-2}
5\text{ miles per hour} ~~ 5\text{ mph}
5\text{ square meters} ~~ 5\text{ m}^2
5\text{ kg} ~~ 5000\text{ g}
12\text{ J} ~~ 12\text{ N m}
42\text{ km} ~~ 42公里
75\text{ minutes} ~~ 1\text{ hour and }15\text{ minutes}
2\text{ kg }500\text{ g} ~~ 2.5\text{ kg}
75 min ~~ 1 h 15 min
\$0.50 ~~ 50\text{ cents}
\$3\text{ and }50\text{ cents} ~~ \$3.50
5元 ~~ ¥5
\$42 ~~ US\$42
\$42 ~~ 42
3:05 pm ~~ 15:05
3:05 pm ~~ 3:05\text{ p.m.}
12:00 PM ~~ 12 noon
December 25, 2020 ~~ 12/25/2020
14 mars 2023 ~~ 2023-03-14
12月25日 ~~ December 25
1:\sqrt3:2 ~~ \frac12:\frac{\sqrt3}{2}:1
3:4:5 ~~ 3\text{ to }4\text{ to }5
\varnothing ~~ \text{无实数解}
\varnothing ~~ \text{There is no solution}
\mathbb{R} ~~ x \in (-\infty,\infty)
(-\infty,2)\cup(2,\infty) ~~ \text{all real numbers except }2
(-\infty,-1)\cup(-1,1)\cup(1,\infty) ~~ \mathbb{R}\setminus\{\pm 1\}
(-\infty,2]\cup(3,\infty) ~~ ]-\infty,2]\cup]3,+\infty[
[0,1) ~~ \{x : 0 \le x < 1\}
(3,4) ~~ \left\{\begin{array}{l}x=3\\y=4\end{array}\right.
\begin{cases}x & x>0\\-x & x\le0\end{cases} ~~ \begin{cases}-x, & x\le0\\x, & x>0\end{cases}
60 ~~ {}^5P_3
\binom{n}{2} ~~ C(n,2)
10 ~~ C^2_5
1234567 ~~ 12,34,567
\frac{5}{6} ~~ 0.8333\ldots
\sin x+C ~~ D+\sin x
\frac{3\pi}{4}+k\pi, k\in\mathbb{Z} ~~ -\frac{\pi}{4}+n\pi, n\in\mathbb{Z}
k\pi, k\in\mathbb{Z} ~~ \pi k, \text{ where } k \text{ is any integer}
k\pi ~~ k\pi，其中k为整数
2n+1 ~~ a_n=2n+1\ (n\in\mathbb{N}^+)
n(n+1) ~~ n(n+1), n = 1, 2, 3, \ldots
\frac{1}{1+\frac1x} ~~ {1 \over 1+{1 \over x}}
3\pmod 7 ~~ x \equiv 3 \mod 7
\begin{pmatrix}1&0\\0&1\end{pmatrix} ~~ [[1,0],[0,1]]
101_2 ~~ 101_{\text{two}}
0.25 ~~ 0,25
\tan x ~~ {\rm tg}\,x
x^3+C ~~ x^3+C, C\in\mathbb{R}
k\pi, k\in\mathbb{Z} ~~ k\pi, k=0,\pm1,\pm2,\ldots
(3,4) ~~ y=4, x=3
[1,2] ~~ x\text{ is in }[1,2]
25\% ~~ 25 \%\text{ of the students}
7 ~~ \text{The number of ways is }7
17_8 ~~ 0o17
72 ~~ 72 eggs
72 ~~ 72 Cats per day
5 ~~ 5 red hats
1/2 ~~ 1/2 cup
5\text{ eggs} ~~ 5
5 ~~ 5 tins of jam
9.8 ~~ 9.8\,\mathrm{m}/\mathrm{s}^2
9.8 ~~ 9.8\,\frac{\mathrm m}{\mathrm s^2}
9.8 ~~ 9.8\,\frac{m}{s^2}
9.8\text{ N} ~~ 9.8\ \text{kg}\cdot\text{m/s}^2
8.3 ~~ 8.3\ \mathrm{J}/(\mathrm{mol}\cdot\mathrm{K})
8.3\text{ J mol}^{-1}\text{K}^{-1} ~~ 8.3\ \frac{\mathrm{J}}{\mathrm{mol}\cdot\mathrm{K}}
5\text{ W m}^{-2} ~~ 5{\rm W}/{\rm m}^{2}
6:20 PM ~~ 6{:}20\text{ PM}
6:20 PM ~~ 18\colon20
7:3:2 ~~ 7\colon 3\colon 2
7:3:2 ~~ 14\mathbin{:}6∶4
2023-03-14 ~~ 2023{-}03{-}14
\frac23 ~~ 2\mathbin{/}3
\sin x ~~ \operatorname{sen} x
\sin^2 x ~~ \operatorname{sen}^{2}x
\frac{1}{2}\tan x ~~ \frac{1}{2}\,\mathrm{tg}\,x
\cot x ~~ ctg x
\arctan x ~~ \operatorname{arc\,tg} x
\sinh x ~~ \operatorname{sh} x
\tanh x ~~ \th x
\coth x ~~ \frac{\operatorname{ch}x}{\operatorname{sh}x}
\ln(x+\sqrt{x^2+1}) ~~ \sinh^{-1} x
6 ~~ \operatorname{ggT}(12,18)
5^{\text{th}} ~~ 5\text{th}
\begin{pmatrix}3\\5\end{pmatrix} ~~ \begin{bmatrix}3 & 5\end{bmatrix}^{\top}
\begin{pmatrix}3\\5\end{pmatrix} ~~ x=\begin{pmatrix}3 & 5\end{pmatrix}^{\mathsf{T}}
\begin{pmatrix}3&5\end{pmatrix} ~~ \begin{pmatrix}3\\5\end{pmatrix}'
\begin{pmatrix}1&2\\3&4\end{pmatrix} ~~ \begin{pmatrix}1&3\\2&4\end{pmatrix}^t
\begin{pmatrix}1\\2\end{pmatrix} ~~ [1;2]
\begin{pmatrix}1&2\\3&4\end{pmatrix} ~~ [1 2; 3 4]
\begin{pmatrix}1\\2\end{pmatrix} ~~ [1\ 2]^T
72 ~~ «72»
72 ~~ "72" apples
72 ~~ ``72''
7 ~~ The value of x is 7
7 ~~ La valeur de n est 7
7 ~~ xの値は7です
7 ~~ The area of ABC is 7
k\pi, k\in\mathbb{Z} ~~ \pm k\pi, k\in\mathbb{Z}
\pm\frac{\pi}{3}+2k\pi, k\in\mathbb{Z} ~~ \frac{\pi}{3}+2n\pi, \frac{5\pi}{3}+2n\pi, n\in\mathbb{Z}
x=k\pi, k\in\mathbb{Z} ~~ x=2k\pi \text{ or } x=\pi+2k\pi, k\in\mathbb{Z}
2k+1, k\in\mathbb{Z} ~~ 4k\pm 1, k\in\mathbb{Z}
""")

OTHER = pairs(r"""
5 ~~ 5\ \mathbf{million}
5 ~~ 5\text{ (in thousands)}
5 ~~ 5million
5 ~~ 5\text{ bilhões}
5 ~~ 5만원
5 ~~ 5割
5 ~~ 5K
5 ~~ 5\text{ sixths}
5 ~~ 5\text{ tens}
5 ~~ 5\text{E}3
5 ~~ 5\text{×10³}
5 ~~ 5_{\text{million}}
5 ~~ \text{half of }5
5 ~~ \text{la moitié de }5
5 ~~ \text{das Doppelte von }5
5 ~~ 5\text{的两倍}
5 ~~ \text{sum of digits of }5
5 ~~ \text{log of }5
5 ~~ 5\text{ minus 2}
5 ~~ 5\text{ mal 2}
5 ~~ 5\text{ of }10
5 ~~ 5\text{ choose 2}
5 ~~ 5\text{ in base 7}
5 ~~ 5\text{ remainder 2}
5 ~~ \text{The answer is at least }5
5 ~~ \text{höchstens }5
5 ~~ не менее 5
5 ~~ 至少5
5 ~~ 5 이상
5 ~~ 5\text{ o más}
5 ~~ 5\text{ upwards}
5 ~~ >5
5 ~~ \text{isn't }5
5 ~~ The answer is not 5
5 ~~ 5\text{ n'est pas la réponse}
5 ~~ 5ではない
5 ~~ 5\text{ (rejected)}
5 ~~ 5\text{ does not work}
5 ~~ 5\text{ is one possibility}
5 ~~ 5\text{ unless }x=2
5 ~~ 5\text{ for }x=1
5 ~~ 5\text{ since it is not }6
5 ~~ 5\text{ (or six)}
5 ~~ 5\text{ and a bit}
5 ~~ 5或6
5 ~~ 5\text{ или 6}
5 ~~ 5 \lor 6
5 ~~ 5 \to 6
5 ~~ \text{between 4 and }5
5 ~~ 6\text{ (not }5\text{)}
5 ~~ 5\text{ apples}-1\text{ apple}
5 ~~ 5\text{ dollars }50\text{ cents}
5 ~~ 5小时30分钟
5 ~~ x=5=6
5 ~~ |x|=5
5 ~~ xy=6=5
\text{Yes} ~~ \text{Yes}\text{No}
\text{Yes} ~~ \text{No}=\text{Yes}
\text{red} ~~ \frac{\text{red}}{\text{blue}}
5\text{ apples} ~~ 5\text{ oranges}
5\text{ blorps} ~~ 5\text{ kiloblorps}
5\text{ MW} ~~ 5\text{ mW}
5\text{ J} ~~ 5\text{ J/s}
5\text{ m/s} ~~ 5\text{ m}\cdot\text{s}
25^\circ\text{C} ~~ 25^\circ\text{F}
5^\circ ~~ 5\text{ rad}
5\text{ miles} ~~ 5\text{ nautical miles}
5 m ~~ 5 s
5公里 ~~ 5千克
2\text{ hours }30\text{ minutes} ~~ 2\text{ hours}
2 ~~ 2\text{ hours }30\text{ minutes}
\$5 ~~ 5元
\$5 ~~ \$5K
50 ~~ \$0.5
5\text{ pence} ~~ £5
12:15 ~~ 4:05
2:30 PM ~~ 2.5
8 AM ~~ 8:15 AM
12 noon ~~ 12 midnight
2020 ~~ 2023-01-02
3/4/2023 ~~ 4/3/2023
March 14, 2023 ~~ March 14, 2024
1:2:3 ~~ 1:2
a:b:c ~~ a:c:b
6 ~~ 1:2:3
\varnothing ~~ 0
\mathbb{R} ~~ \text{all positive real numbers}
(2,\infty) ~~ \{x\in\mathbb{Z}\mid x>2\}
(2,5) ~~ ]2,5]
(3,5) ~~ x>3 \text{ or } x<5
(3,4) ~~ x=3\text{ or }y=4
(3,4) ~~ \begin{cases}y=3\\x=4\end{cases}
2,3 ~~ 2.3
\text{Yes} ~~ \neg\text{Yes}
5 ~~ 5\text{ dixièmes}
5 ~~ 5\text{ Mio. Euro}
\begin{cases}1 & x>0\\-1 & x<0\end{cases} ~~ \begin{cases}2 & x>0\\-2 & x<0\end{cases}
10 ~~ C_4^2
123456 ~~ 12,34,567
1.234 ~~ 1234
x^2+C ~~ x^2+2C
a+b+c ~~ a+b+k
k\pi, k\in\mathbb{Z} ~~ 2k\pi, k\in\mathbb{Z}
2n+1 ~~ 2n-1, n\in\mathbb{Z}
2^n-1 ~~ 2^n-1, n\in\mathbb{R}
xy ~~ xz, z\in\mathbb{Z}
n^2 ~~ n^2, n<5
3\pmod 7 ~~ 3
1011_2 ~~ 0x1011
\begin{pmatrix}1&2\\3&4\end{pmatrix} ~~ [[1,3],[2,4]]
\sum_{k=1}^{\infty}\frac{1}{2^k} ~~ \text{not }1
72 ~~ 72 ab
3 ~~ 3 xy
3 ~~ 3 abs
3 ~~ 3 abcs
3 ~~ 3 xyzs
3 ~~ 3 tens
3 ~~ 3 less cats
3 ~~ 3 us
3 ~~ 3 pens seven
3\text{ eggs} ~~ 3 cats
9.8 ~~ 9.8\,\mathrm{x}/\mathrm{y}
9.8 ~~ 9.8\,\frac{a}{b}
9.8 ~~ 9.8\,\mathrm{m}/2
9.8\,\mathrm{m}/\mathrm{s}^2 ~~ 9.8\,\mathrm{m}/\mathrm{s}
9.8\,\mathrm{J}/(\mathrm{mol}\cdot\mathrm{K}) ~~ 9.8\,\mathrm{J}/\mathrm{mol}\cdot\mathrm{K}
6:20 PM ~~ 6{:}20\text{ AM}
7:3:2 ~~ 7\colon 2\colon 3
5 ~~ {-}5
\sin x ~~ \operatorname{tg} x
\sin x ~~ \operatorname{sh} x
\cosh x ~~ c h x
5 ~~ 5\operatorname{th} 2
\begin{pmatrix}3&5\end{pmatrix} ~~ \begin{bmatrix}3 & 5\end{bmatrix}^{\top}
\begin{pmatrix}3\\5\end{pmatrix} ~~ \begin{bmatrix}5 & 3\end{bmatrix}^{\top}
\begin{pmatrix}3\\5\end{pmatrix} ~~ \begin{bmatrix}3 & 5\end{bmatrix}^{2}
\begin{pmatrix}1&2\\3&4\end{pmatrix} ~~ [1,3;2,4]
(1,2) ~~ [1;2]
72 ~~ not "72"
72 ~~ "72" or "73"
72 ~~ 7"2"
f ~~ f'
7 ~~ The value of x is not 7
7 ~~ x is over 7
7 ~~ x的值不是7
k\pi, k\in\mathbb{Z} ~~ \pm 2k\pi, k\in\mathbb{Z}
k\pi, k\in\mathbb{Z} ~~ k\pi, \frac{\pi}{2}+k\pi, k\in\mathbb{Z}
\pm\frac{\pi}{3}+2k\pi, k\in\mathbb{Z} ~~ \frac{\pi}{3}+2k\pi, k\in\mathbb{Z}
x=k\pi, k\in\mathbb{Z} ~~ y=k\pi, k\in\mathbb{Z}
""")
