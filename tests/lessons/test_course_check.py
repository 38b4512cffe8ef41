"""Solutions with a line changed: which outputs are wrong, and what the mistake is called."""

import inspect

import course_solutions
import numpy as np
import pytest

from rnncore import course

FUNCTIONS = {
    name: inspect.getsource(function)
    for name, function in vars(course_solutions).items()
    if name.startswith(("rnn_", "lstm_"))
}


def solution(name, *changes, at=None):
    """The function, with some of its lines changed, or of the one `at` that it calls."""
    space = {"np": np, "sigmoid": course_solutions.sigmoid, "softmax": course_solutions.softmax}
    at = at or name
    for other, source in FUNCTIONS.items():
        for old, new in changes if other == at else ():
            assert old in source
            source = source.replace(old, new)
        exec(source, space)
    return space[name]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_is_right_passes(name):
    for function in (solution(name), getattr(course, name)):
        report = course.check(function)
        assert report, report
        assert report.of == name
        assert not report.wrong
        assert not report.mistakes
        assert str(report).startswith(f"{name} is right: ")


CELL, RNN, LSTM, STEPS = (f"{name}_backward" for name in ("rnn_cell", "rnn", "lstm_cell", "lstm"))
ALL = "dxt da_prev dWax dWaa dba"
OF_F = "dxt da_prev dWf dbf"
OF_K = "dxt da_prev dc_prev dWi dbi dWf dbf dWc dbc"
SUMS = "dWi dbi dWf dbf dWc dbc dWo dbo"
KEEP = ", axis=1, keepdims=True"
# The function, what is changed in it, the outputs that are wrong then, and what it is called
MISTAKES = [
    (CELL, "(1 - a_next**2) * da_next", "da_next", ALL, "derivative forgotten"),
    (CELL, "a_next**2", "np.tanh(a_next)**2", ALL, "tanh taken twice"),
    (CELL, "1 - a_next**2", "1 - a_next", ALL, "wrong derivative"),
    (CELL, "1 - a_next**2", "a_next * (1 - a_next)", ALL, "wrong derivative"),
    (CELL, "1 - a_next**2", "1 + a_next**2", ALL, "wrong derivative"),
    (CELL, "1 - a_next**2", "1 - a_prev**2", ALL, "wrong derivative"),
    (CELL, "Waa.T, dtanh", "Waa, dtanh", "da_prev", "transposed weight"),
    (CELL, "a_prev.T", "a_next.T", "dWaa", "a_next for a_prev"),
    (CELL, f"np.sum(dtanh{KEEP})", "dtanh", "dba", "not summed over the examples"),
    (CELL, KEEP, ", axis=1", "dba", "wrong shape"),
    (CELL, "np.sum(", "np.mean(", "dba", "mean for sum"),
    (CELL, "np.dot(dtanh, xt.T)", "np.dot(xt, dtanh.T)", "dWax", "transposed result"),
    (CELL, ', "dba": dba', "", "dba", "missing key"),
    (RNN, " + da_prevt", "", "dx da0 dWax dWaa dba", "da_next forgotten"),
    (RNN, "dWaa +=", "dWaa =", "dWaa", "overwritten"),
    (RNN, "dba += gradients", "if t == T_x - 1: dba = gradients", "dba", "not summed over time"),
    (RNN, "reversed(range(T_x))", "range(T_x)", "dx da0 dWax dWaa dba", "wrong order of time"),
    (RNN, "dx[:, :, t]", "dx[:, :, T_x - 1 - t]", "dx", "wrong order of time"),
    (RNN, "da0 = da_prevt", "da0 = np.zeros((n_a, m))", "da0", "never filled"),
    (LSTM, "k = dc_next +", "k =", OF_K,
     "dc_next forgotten"),
    (LSTM, " * (1 - np.tanh(c_next) ** 2)", "", OF_K,
     "derivative forgotten"),
    (LSTM, "np.tanh(c_next) ** 2", "c_next ** 2", OF_K,
     "tanh forgotten"),
    (LSTM, "k * c_prev * ft * (1 - ft)", "k * c_prev * ft", OF_F, "(1 - gate) forgotten"),
    (LSTM, "k * c_prev * ft * (1 - ft)", "k * c_prev", OF_F, "derivative forgotten"),
    (LSTM, " * (1 - cct**2)", "", "dxt da_prev dWc dbc", "derivative forgotten"),
    (LSTM, "1 - cct**2", "1 - cct", "dxt da_prev dWc dbc", "wrong derivative"),
    (LSTM, "1 - cct**2", "cct * (1 - cct)", "dxt da_prev dWc dbc", "wrong derivative"),
    (LSTM, "1 - np.tanh(c_next) ** 2", "1 - np.tanh(c_next)", OF_K, "wrong derivative"),
    (LSTM, "c_prev * ft", "c_next * ft", OF_F, "c_next for c_prev"),
    (LSTM, "(a_prev, xt)", "(a_next, xt)", "dWi dWf dWc dWo", "a_next for a_prev"),
    (LSTM, "(a_prev, xt)", "(xt, a_prev)", "dWi dWf dWc dWo", "wrong order"),
    (LSTM, "c_prev, ft, it, cct", "c_prev, it, ft, cct",
     OF_K, "gates mixed up"),
    (LSTM, "np.dot(dft, concat.T)", "np.dot(dit, concat.T)", "dWf", "gates mixed up"),
    (LSTM, "Wf, Wi, Wc, Wo =", "Wi, Wf, Wc, Wo =", "dxt da_prev", "gates mixed up"),
    (LSTM, "[:, :n_a].T", "[:, :n_a]", "da_prev", "transposed weight"),
    (LSTM, "        + np.dot(Wo[:, :n_a].T, dot)\n", "", "da_prev", "gate left out"),
    (LSTM, "k * ft\n", "k\n", "dc_prev", "gate forgotten"),
    (LSTM, f"np.sum(dot{KEEP})", "dot", "dbo", "not summed over the examples"),
    (LSTM, "dWi = np.dot(dit", "dWi = -np.dot(dit", "dWi", "wrong sign"),
    (STEPS, "dc_prevt, caches", "0 * dc_prevt, caches", f"dx da0 {SUMS}",
     "dc_next forgotten"),
    (STEPS, " + da_prevt", "", f"dx da0 {SUMS}", "da_next forgotten"),
    (STEPS, "sums[name] +=", "sums[name] =", SUMS, "overwritten"),
    (STEPS, "sums[name] += gradients[name]", "sums[name] += gradients[name] * (t + 1 == T_x)",
     SUMS, "not summed over time"),
    (STEPS, "reversed(range(T_x))", "range(T_x)", f"dx da0 {SUMS}", "wrong order of time"),
    ("rnn_cell_forward", "np.dot(Waa,", "np.dot(Waa.T,", "a_next yt_pred", "transposed weight"),
    ("rnn_cell_forward", "softmax(np.dot(Wya, a_next) + by)", "np.dot(Wya, a_next) + by",
     "yt_pred", "softmax"),
    ("rnn_forward", "t], a_next", "t], a0", "a y_pred", "not handed on"),
    ("lstm_cell_forward", "ft * c_prev + it * cct", "it * c_prev + ft * cct",
     "a_next c_next yt_pred", "gates mixed up"),
    ("lstm_cell_forward", "(a_prev, xt)", "(xt, a_prev)", "a_next c_next yt_pred", "wrong order"),
    ("lstm_cell_forward", "ot * np.tanh(c_next)", "ot * c_next", "a_next yt_pred",
     "activation forgotten"),
    ("lstm_forward", "a_next, c_next, param", "a_next, np.zeros((n_a, m)), param", "a y c",
     "not handed on"),
    ("lstm_forward", "return a, y, c", "return a, c, y", "y c", "outputs mixed up"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "old", "new", "outputs", "mistake"), MISTAKES)
def test_a_mistake_is_named(name, old, new, outputs, mistake):
    report = course.check(solution(name, (old, new)))
    assert not report
    assert [found.name for found in report.mistakes] == [mistake]
    wrong = [output for output in report.wrong if not output.startswith("cache")]
    assert sorted(wrong) == sorted(outputs.split())
    assert set(wrong) <= set(report.mistakes[0].outputs)
    assert not set(report.right) & set(report.wrong)
    for text in (mistake, *wrong):
        assert text in str(report)


@pytest.mark.parametrize(
    ("name", "at", "old", "new", "mistake"),
    [
        (RNN, CELL, "(1 - a_next**2) * da_next", "da_next", "derivative forgotten"),
        (RNN, CELL, "a_prev.T", "a_next.T", "a_next for a_prev"),
        (STEPS, LSTM, "it * (1 - it)", "it", "(1 - gate) forgotten"),
        (STEPS, LSTM, "c_prev, ft, it, cct", "c_prev, it, ft, cct", "gates mixed up"),
        (STEPS, LSTM, "c_prev * ft", "c_next * ft", "c_next for c_prev"),
        ("rnn_forward", "rnn_cell_forward", "Waa, a", "Waa.T, a", "transposed weight"),
        ("lstm_forward", "lstm_cell_forward", "ot * np.tanh(c_next)", "ot * c_next",
         "activation forgotten"),
    ],
)  # fmt: skip
def test_a_mistake_of_the_step_is_named_in_the_whole(name, at, old, new, mistake):
    report = course.check(solution(name, (old, new), at=at))
    assert [found.name for found in report.mistakes] == [mistake]


def test_two_mistakes_in_different_lines_have_a_name_each():
    lines = ("Waa.T, dtanh", "Waa, dtanh"), (f"np.sum(dtanh{KEEP})", "dtanh")
    report = course.check(solution(CELL, *lines))
    found = {mistake.outputs: mistake.name for mistake in report.mistakes}
    assert found == {
        ("da_prev",): "transposed weight",
        ("dba",): "not summed over the examples",
    }
    assert report.right == ("dxt", "dWax", "dWaa")


@pytest.mark.parametrize(
    ("name", "lines", "names"),
    [
        (CELL, [("(1 - a_next**2) * da_next", "da_next"), ("Waa.T, dtanh", "Waa, dtanh")],
         {"derivative forgotten", "derivative forgotten, transposed weight"}),
        (STEPS, [(" + da_prevt", ""), ("dc_prevt, caches", "0 * dc_prevt, caches")],
         {"dc_next forgotten, da_next forgotten", "da_next forgotten"}),
    ],
)  # fmt: skip
def test_two_mistakes_in_one_output(name, lines, names):
    report = course.check(solution(name, *lines))
    assert {mistake.name for mistake in report.mistakes} == names
    assert {name for mistake in report.mistakes for name in mistake.outputs} == {*report.wrong}


@pytest.mark.parametrize(
    ("name", "old", "new", "outputs"),
    [
        (CELL, "dtanh, a_prev.T)", "dtanh, a_prev.T) * 1.001", "dWaa"),
        (CELL, "(1 - a_next**2)", "(1 - a_next**4)", ALL),
        (LSTM, "ot * (1 - ot)", "ot * (1 - ft)", "dxt da_prev dWo dbo"),
        (STEPS, "dc_prevt, caches", "0.5 * dc_prevt, caches", f"dx da0 {SUMS}"),
        (RNN, "da_prevt,", "da_prevt + 1e-6,", "dx da0 dWax dWaa dba"),
        ("lstm_cell_forward", "it * cct", "it * cct**3", "a_next c_next yt_pred"),
        ("rnn_forward", "= yt_pred", "= yt_pred**2", "y_pred"),
    ],
)
def test_another_fault_has_no_name(name, old, new, outputs):
    report = course.check(solution(name, (old, new)))
    assert not report.mistakes
    assert sorted(n for n in report.wrong if "cache" not in n) == sorted(outputs.split())


def test_how_far_and_where():
    """Of dba of one problem the largest number is off by its thousandth."""
    report = course.check(solution(CELL, (f"np.sum(dtanh{KEEP})", f"1.001 * np.sum(dtanh{KEEP})")))
    assert report.wrong.keys() == {"dba"}
    off, found, expected = (
        float(report.wrong["dba"].split(word)[1].split()[0].rstrip(":"))
        for word in ("off by ", ": ", "expected ")
    )
    assert found == pytest.approx(1.001 * expected, rel=1e-5)
    assert off == pytest.approx(0.001 * abs(expected), rel=0.05)
    assert "n_x = " in report.wrong["dba"]


def test_a_transposed_weight_that_does_not_fit():
    """What raises where n_x is not n_a is named by what it gives where it is."""
    report = course.check(solution(CELL, ("Wax.T", "Wax")))
    assert "raises ValueError: " in report.wrong[""]
    assert "not where all sizes are equal" in report.wrong[""]
    (mistake,) = report.mistakes
    assert mistake.name == "transposed weight"
    assert mistake.outputs == ("dxt",)
    assert report.right == ("da_prev", "dWax", "dWaa", "dba")


def test_a_product_that_never_fits():
    report = course.check(solution(LSTM, ("Wf[:, :n_a].T, dft", "Wf, dft")))
    assert [mistake.name for mistake in report.mistakes] == ["sizes of a product"]
    assert not report.right
    assert "it " in str(report)


def test_the_line_that_raises_is_told():
    def rnn_cell_backward(da_next, cache):
        return {"dxt": cache[7]}

    text = course.check(rnn_cell_backward).wrong[""]
    assert text.startswith("raises IndexError: tuple index out of range, in line ")
    assert 'return {"dxt": cache[7]}' in text


def test_inputs_that_are_changed():
    report = course.check(solution(CELL, ("dtanh = (1", "da_next *= (1"), ("* da_next", ""),
                                   ("dtanh", "da_next")))  # fmt: skip
    assert report.wrong == {"inputs": "are changed: da_next"}
    assert [mistake.name for mistake in report.mistakes] == ["inputs changed"]
    report = course.check(solution(LSTM, ("n_a = len(a_next)", "n_a = len(ft); ft[0] = 0")))
    assert report.wrong["inputs"] == "are changed: ft of cache"
    line = "caches.append(cache)", "caches.append(cache); parameters['seen'] = x[0]"
    assert course.check(solution("rnn_forward", line)).wrong == {
        "inputs": "are changed: seen of parameters"
    }


def test_what_is_changed_does_not_hide_another_mistake():
    lines = ("Waa.T, dtanh", "Waa, dtanh"), ("    return", "    da_next[...] = 7\n    return")
    names = [mistake.name for mistake in course.check(solution(CELL, *lines)).mistakes]
    assert names == ["transposed weight", "inputs changed"]


def test_lists_throughout_are_no_mistake_that_is_known():
    whole = "return {name: list(a) for name, a in {"
    report = course.check(
        solution(CELL, ("return {", whole), ('"dba": dba}', '"dba": dba}.items()}'))
    )
    assert report.wrong.keys() == {*ALL.split()}
    assert not report.mistakes


@pytest.mark.parametrize(
    ("name", "old", "new", "text"),
    [
        (CELL, "return ", "return list, ", "returns a tuple of 2, expected a dict: dxt, da_prev"),
        (CELL, "return ", "found = ", "returns None: is there a return?, expected a dict"),
        ("rnn_forward", "return a, y_pred,", "return a,", "returns a tuple of 2, expected (a, y_"),
    ],
)
def test_what_is_no_result(name, old, new, text):
    assert course.check(solution(name, (old, new))).wrong[""].startswith(text)


@pytest.mark.parametrize(
    ("old", "new", "output", "text"),
    [
        ('"dxt": dxt', '"dxt": list(dxt)', "dxt", "is a list of 3, expected an array"),
        ("dxt = np", "dxt = 0 if True else np", "dxt", "is of type int, expected an array"),
        (
            "dxt = np",
            "dxt = np.array([None]) if 1 else np",
            "dxt",
            "is an array of dtype object, exp",
        ),
        (
            '"dxt": dxt',
            '"dxt": dxt + 0j',
            "dxt",
            "is an array of dtype complex128, expected an arr",
        ),
        ('"dxt"', '"dx"', "dxt", "is missing; the keys are dx, da_prev, dWax, dWaa, dba"),
        ('"dxt": dxt', '"dxt": dxt * np.nan', "dxt", "is off by inf: nan at [0, 0], expected "),
        ('"dxt": dxt', '"dxt": dxt.astype("f")', "dxt", "has dtype float32, is off by "),
        ('"dxt": dxt', '"dxt": dxt[:2]', "dxt", "has shape (2, 2), expected (3, 2) (n_x = 3, "),
        ('"dba": dba', '"dba": np.sum(dba)', "dba", "is of type float64, expected an array"),
    ],
)
def test_what_is_no_output(old, new, output, text):
    report = course.check(solution(CELL, (old, new)))
    assert report.wrong.keys() == {output}
    assert report.wrong[output].startswith(text)
    assert all(mistake.outputs == (output,) for mistake in report.mistakes)


def test_another_cache():
    source = (
        "return a_next, yt_pred, (a_next, a_prev, xt, parameters)",
        "return a_next, yt_pred, xt",
    )
    report = course.check(solution("rnn_cell_forward", source))
    expected = "is an array of dtype float64, expected (a_next, a_prev, xt, parameters)"
    assert report.wrong["cache"].startswith(expected)
    report = course.check(solution("lstm_forward", ("(caches, x)", "caches")))
    assert report.wrong["caches"].startswith("is a list of 4, expected ([(a_next, c_next, ")
    exchanged = "c_prev, ft, it, cct", "c_prev, it, ft, cct"
    report = course.check(solution("lstm_cell_forward", exchanged))
    assert report.wrong.keys() == {"cache: ft", "cache: it"}
    assert report.mistakes[0].text == "update and forget gate are exchanged"


# What is meant


def test_what_is_meant():
    right = solution(CELL)
    assert course.check(lambda da_next, cache: right(da_next, cache)).of == CELL
    assert course.check(lambda *args: right(*args), of=CELL)

    def my_rnn_cell_backward_2(da, kept):
        return right(da, kept)

    assert course.check(my_rnn_cell_backward_2).of == CELL

    class Mine:
        def __call__(self, xt, a_prev, parameters):
            return solution("rnn_cell_forward")(xt, a_prev, parameters)

        def backward(self, da_next, dc_next, cache):
            return solution(LSTM)(da_next, dc_next, cache)

    assert course.check(Mine()).of == "rnn_cell_forward"
    assert course.check(Mine().backward).of == LSTM


@pytest.mark.parametrize(
    ("function", "of", "error", "message"),
    [
        (1, None, TypeError, "function is of type int, expected a function"),
        (None, CELL, TypeError, "function is of type NoneType, expected a function"),
        (dict, CELL, TypeError, "function is a class, expected a function"),
        (lambda da, caches: 0, None, ValueError,
         r"is called '<lambda>', expected of='rnn_backward' or of='lstm_backward' to tell what it"),
        (lambda a: 0, None, ValueError, "expected of='rnn_cell_forward' or of='rnn_forward' or of"),
        (lambda a: 0, CELL, TypeError,
         r"function has the arguments \(a\), expected \(da_next, cache\) as rnn_cell_backward has"),
        (lambda da_next, cache: 0, "gru", ValueError, "of is 'gru', expected 'rnn_cell_forw"),
        (lambda da_next, cache: 0, 1, ValueError, "of is 1, expected 'rnn_cell_forward' or"),
    ],
)  # fmt: skip
def test_what_is_refused(function, of, error, message):
    with pytest.raises(error, match=message):
        course.check(function, of)


def test_a_report_is_the_same_again():
    assert repr(course.check(solution(CELL))) == repr(course.check(solution(CELL)))
    wrong = solution(CELL, ("dtanh, a_prev.T)", "dtanh, a_prev.T) * 1.001"))
    assert course.check(wrong) == course.check(wrong)


def test_an_interrupt_goes_through():
    def rnn_cell_backward(da_next, cache):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        course.check(rnn_cell_backward)
