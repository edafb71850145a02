"""What a docstring says first: the one line about a part, in help and in the header of a run."""


def first_sentence(text: str) -> str:
    """The first sentence, without its full stop.

    >>> first_sentence("Of file.py:Class. Then more."), first_sentence("One of .3 and .6.")
    ('Of file.py:Class', 'One of .3 and .6')
    """
    first = " ".join(text.partition("\n\n")[0].split()).partition(". ")[0]
    return first if first.endswith("...") else first.removesuffix(".")
