r"""Names of functions as other languages write them: `\operatorname{sen} x`, `tg x`, `\text{ggT}(12, 18)`."""

import re

from menon.reward.math.lexicon import rows

_NAMES = rows(
    """
sin: sen
tan: tg, tang
cot: ctg, cotg, cotan, ctan, cotang, ctng
sec: secante
csc: cosec, cossec, csec
arcsin: Arcsin, arcsen, asin, asen, arsen
arccos: Arccos, acos
arctan: Arctan, arctg, atan, arctang, atg
arccot: arcctg, arccotg, arcotg, acot, actg, arcctan
arccsc: arccosec
arcsec: asec
sinh: sh, senh, shin
cosh: ch
tanh: th, tgh
coth: cth, ctgh, cotgh, ctanh
arsinh: asinh, arcsinh, arsh, arcsenh, asenh, arsenh, argsh, argsinh, arcsh
arcosh: acosh, arccosh, arch, argch, argcosh, arcch
artanh: atanh, arctanh, arth, argth, argtanh, arctgh, atgh, arcth
ln: Ln, loge
log_{2}: lb, ld
gcd: ggT, pgcd, PGCD, mcd, MCD, mdc, MDC, НОД, GCD, HCF, hcf, gcf, GCF, ggt
lcm: kgV, ppcm, PPCM, mcm, MCM, mmc, MMC, НОК, LCM, kgv
"""
)
SPELLINGS = _NAMES | {
    name: name
    for name in (
        *(
            "sin",
            "cos",
            "tan",
            "cot",
            "sec",
            "csc",
            "arcsin",
            "arccos",
            "arctan",
            "arccot",
            "arcsec",
            "arccsc",
        ),
        *(
            "sinh",
            "cosh",
            "tanh",
            "coth",
            "arsinh",
            "arcosh",
            "artanh",
            "log",
            "ln",
            "lg",
            "exp",
            "gcd",
            "lcm",
        ),
        "sqrt",
    )
}
"""A name as written -> the function's command."""
_FONT = r"\\(?:operatorname\*?|mathrm|mathsf|text|textrm|textup|mbox|rm)(?![A-Za-z])"
_ANY = "|".join(sorted(SPELLINGS, key=len, reverse=True))
_PLAIN = "sen|tg|ctg|cotg|cotan|arcsen|arctg|arcctg|arccotg|senh|tgh|ctgh|cosec|cossec|lg"
"""Names that are read where they stand bare before an argument; shorter ones are products."""
_ARGUMENT = r"(?=(?:\s|~|\\[,;:! ])*(?:[({\[^_|\dA-Za-z]|\\(?!text(?![A-Za-z])|[,;:! ])))"
_WRITTEN = re.compile(
    rf"(?P<font>{_FONT})\s*\{{\s*(?P<marked>(?:(?:arc|arg|ar)(?:\s|\\[,;:! ])*)?(?:{_ANY}))\s*\}}"
    rf"(?:\s*\\(?:no)?limits(?![A-Za-z]))?{_ARGUMENT}"
    rf"|\{{\s*\\rm\s+(?P<roman>{_ANY})\s*\}}{_ARGUMENT}"
    rf"|\\(?P<command>(?:{'|'.join(sorted(_NAMES, key=len, reverse=True))}))(?![A-Za-z])"
    rf"|(?<![A-Za-z\\{{])(?P<bare>{_PLAIN})(?= *(?:[(\d]|\\(?!text))| +[a-z](?![a-z])|\^)"
)


def functions_named(text: str) -> str:
    r"""The text with every name of a function as LaTeX's command, where an argument follows.

    Names of two letters (`sh`, `ch`, `th`) have to be marked, because `ch x` may be a product.
    """
    return _WRITTEN.sub(_command, text)


def _command(found: re.Match[str]) -> str:
    marked = re.sub(r"\s|\\[,;:! ]", "", found["marked"] or "")
    name = marked or found["roman"] or found["command"] or found["bare"]
    before = found.string[: found.start()].rstrip()[-1:]
    if (
        marked in ("th", "sec")
        and "operatorname" not in found["font"]
        and (before.isdigit() or before == "^")
    ):
        return found[0]  # 5th, 5 sec
    return f"\\{SPELLINGS.get(name, name)} " if name in SPELLINGS else found[0]
