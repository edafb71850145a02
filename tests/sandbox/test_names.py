import pytest

from menon.sandbox.names import definitions, first_call, free_names, library_names


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("assert add(1, 2) == 3", {"add"}),
        ("import math\nassert math.isclose(area(2), math.pi)", {"area"}),
        (
            "def check(candidate):\n    x = 1\n    assert candidate(x) == helper(x)\ncheck(add)",
            {"add", "helper"},
        ),
        ("root = Node(1)\nassert height(root) == 1", {"Node", "height"}),
        ("assert [f(x) for x in range(3)] == sorted(y)", {"f", "y"}),
        ("def g():\n    global z\n    z = 1\ng()\nassert z == f()", {"f"}),
        ("assert sum(10, 15) == 6", set()),
        ("class T:\n    def test(self):\n        assert f(1)\nT().test()", {"f"}),
    ],
)
def test_free_names(code, names):
    assert free_names(code) == names


def test_a_solution_may_not_define_the_library():
    code = "assert isclose(area(2), 12.5) and np.allclose(area(3), 28) and math.floor(1.5) == 1"
    found = library_names(code, free_names(code), "")
    assert found == {"isclose": ("math", "isclose"), "np": ("numpy", ""), "math": ("math", "")}


def test_a_task_may_be_named_like_a_library_function():
    assert library_names("assert gcd(4, 6) == 2", {"gcd"}, "") == {}
    assert library_names("assert gcd(4, 6) == 2", {"gcd"}, "gcd") == {}
    assert library_names("assert gcd(f(4), 6) == 2", {"gcd", "f"}, "f") == {"gcd": ("math", "gcd")}


def test_first_call():
    assert first_call("assert sum(10, 15) == 6") == "sum"
    assert first_call("assert 1") == ""


def test_definitions_of_a_question_that_is_code():
    assert definitions("import math\n\ndef help(x):\n    return x\n").startswith("import math")
    assert definitions("Write a function.") == ""
    assert definitions("print(1)\ndef f(): pass") == ""
