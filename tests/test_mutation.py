"""What `make mutation` does: every planted fault has its place, and a fault that no test notices is found."""

from dataclasses import replace

import pytest

from tests import mutation
from tests.mutation import PLANTED, ROOT, Fault


@pytest.mark.parametrize("fault", PLANTED, ids=lambda fault: fault.name)
def test_every_planted_fault_has_its_place_and_its_tests(fault):
    source = (ROOT / fault.file).read_text()
    assert source.count(fault.old) == 1 and fault.new != fault.old
    compile(source.replace(fault.old, fault.new), fault.file, "exec")
    assert all((ROOT / test).exists() for test in fault.tests)


@pytest.mark.parametrize("area", mutation.areas())
def test_every_area_has_files_and_tests(area):
    assert all(list(ROOT.glob(pattern)) for pattern in mutation.areas()[area]["files"])
    assert all((ROOT / test).exists() for test in mutation.areas()[area]["tests"])


def test_a_fault_is_noticed_or_not(tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    whole = "def double(x):\n    return 2 * x\n"
    (copy / "double.py").write_text(whole)
    (copy / "test_double.py").write_text("from double import double\n\ndef test():\n    assert double(3) == 6\n")
    fault = Fault("sum", "double.py", "2 * x", "x + 3", ("test_double.py",))
    wrong = replace(fault, name="product", new="3 * x")
    assert mutation.try_all([fault, wrong], copy) == [fault]
    assert (copy / "double.py").read_text() == whole
    with pytest.raises(ValueError, match="0 times"):
        mutation.is_noticed(replace(fault, old="4 * x"), copy)
    with pytest.raises(RuntimeError, match="without a fault"):
        mutation.try_all([replace(fault, tests=("test_other.py",))], copy)


def test_mutants_are_drawn_from_an_area_s_files():
    pytest.importorskip("cosmic_ray", reason="the extra `mutation`")
    drawn = mutation.mutants("targets", count=3, seed=1)
    assert drawn == mutation.mutants("targets", count=3, seed=1) and len(drawn) == 3
    for fault in drawn:
        assert fault.file in mutation.files_of("targets") and fault.new != fault.old
        compile(fault.new, fault.file, "exec")
