"""Lines of a network program's source."""

from __future__ import annotations

import ast

import pytest

from bench.lowering import source_text


@pytest.mark.parametrize("line", ["short(1, 2)", "f(" + "a_long_name, " * 20 + "(1, 2))", 'f("' + "b, " * 60 + '", 3)'])
def test_long_lines_are_wrapped_between_arguments(line: str) -> None:
    wrapped = source_text.wrap(line)
    assert ast.dump(ast.parse("\n".join(wrapped))) == ast.dump(ast.parse(line))
    assert len(wrapped) == 1 or all(len(each) <= 120 or '"' in each for each in wrapped)
