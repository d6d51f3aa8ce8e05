# SPDX-License-Identifier: MIT
"""Programs compiled ahead of time: choice, cache and checks with a stand-in for the compiler."""

import copy
import pickle
import shutil
import threading
import warnings

import numpy as np
import pytest
import torch
from ase.calculators.calculator import InputError

from eqcalc import EqCalculator
from eqcalc import neighbors as pairs_module
from eqcalc.models import Potential, PotentialConfig, References
from eqcalc.models.networks.irreps_gcn import IrrepsGCNConfig
from eqcalc.models.networks.lnet import LNetConfig
from eqcalc.models.networks.schnet import SchNetConfig
from eqcalc.runtime import (
    CapturedCompiledExecution,
    CompiledExecution,
    ExecutionUnavailableError,
    ExecutionWarning,
    ModelChangedError,
    MoleculeEvaluator,
    ahead_of_time,
    eager_evaluator,
    evaluator_for,
)
from eqcalc.runtime import cpp_compiler as compiler
from tests.conftest import make_potential
from tests.errors import refused
from tests.runtime.test_cuda_graphs import capture_on_the_host

NAMES = ("energy", "forces", "dipole", "polarizability")


@pytest.fixture
def numbers(ethanol):
    return torch.tensor(ethanol.numbers[[0, 1, 2, 3]])  # C C O H


@pytest.fixture
def positions(ethanol, generator):
    noise = 0.05 * torch.randn(40, 4, 3, generator=generator, dtype=torch.float64)
    return torch.tensor(ethanol.positions[[0, 1, 2, 3]]) + noise


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EQCALC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def quick(monkeypatch):
    """Keep the model instead of compiling it; give out the same memory in every call."""

    def compile_program(potential, specification, target):
        torch.save((potential, specification), target)

    def load_program(path, device):
        try:
            potential, specification = torch.load(path, weights_only=False)
        except Exception as error:
            raise ExecutionUnavailableError("not a program") from error
        numbers, charge = torch.tensor(specification.numbers), specification.charge
        eager = eager_evaluator(potential, numbers, charge=charge)
        kept = []

        def program(positions):
            assert positions.shape == (specification.n_structures, len(numbers), 3)
            assert positions.is_contiguous() and not positions.requires_grad
            values = eager(positions, specification.quantities)
            values = [values[name] for name in specification.quantities]
            kept.extend(torch.empty_like(value) for value in values[len(kept) :])
            for old, new in zip(kept, values, strict=True):
                old.copy_(new)
            return kept

        return program

    monkeypatch.setattr(ahead_of_time, "compile_program", compile_program)
    monkeypatch.setattr(ahead_of_time, "load_program", load_program)


def compiled_evaluator(potential, numbers, *, charge=0.0, **options):
    execution = CompiledExecution(potential, numbers, charge=charge, **options)
    return MoleculeEvaluator(execution, numbers, charge=charge)


def captured_compiled(potential, numbers, **options):
    return MoleculeEvaluator(CapturedCompiledExecution(potential, numbers, **options), numbers)


def small_potential(**options):
    potential = make_potential(features=8, layers=1, radial_functions=4, **options)
    potential.metadata["charges"] = [0.0, 1.0]
    return potential


def schnet(**options):
    config = PotentialConfig(SchNetConfig(features=8, layers=1, radial_functions=4), **options)
    torch.manual_seed(3)
    return Potential(config, References((1, 6, 8)))


def test_every_batch_size_and_layout_gives_what_eager_gives(numbers, positions, quick):
    potential = small_potential()
    evaluator = compiled_evaluator(potential, numbers, charge=1.0)
    eager = eager_evaluator(potential, numbers, charge=1.0)
    strided = positions.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    assert not strided[:8].is_contiguous()
    for n in (1, 2, 3, 7, 8, 16, 21):  # 8 features, and 8 structures in a pass
        expected = eager(positions[:n], NAMES)
        for given in (positions[:n], strided[:n], positions[:n].flip(0).flip(0)):
            found = evaluator(given.requires_grad_(), NAMES)
            for name in NAMES:
                assert found[name].shape == expected[name].shape
                torch.testing.assert_close(found[name], expected[name], rtol=1e-11, atol=1e-11)
    assert evaluator.execution.compilations == 2


def test_results_survive_the_next_call(numbers, positions, quick):
    evaluator = compiled_evaluator(small_potential(), numbers)
    for n in (1, 8):
        first = evaluator(positions[:n], NAMES)
        kept = {name: value.clone() for name, value in first.items()}
        evaluator(positions[n : 2 * n], NAMES)
        for name in NAMES:
            assert torch.equal(first[name], kept[name])


def test_programs_are_few_and_a_second_start_compiles_none(numbers, positions, quick):
    evaluator = compiled_evaluator(small_potential(), numbers)
    assert evaluator.execution.compilations == 1
    for quantities in (NAMES, ("forces",), ("energy", "forces"), ("dipole",), NAMES[::-1]):
        for n in (1, 8, 11, 40):
            assert tuple(evaluator(positions[:n], quantities)) == quantities
    assert evaluator.execution.compilations == 4
    again = compiled_evaluator(small_potential(), numbers)
    again(positions[:11], ("forces",))
    assert again.execution.compilations == 0
    assert again.provenance["execution"] == "compiled"
    assert CompiledExecution.in_cache(small_potential(), numbers)
    assert not CompiledExecution.in_cache(small_potential(), numbers, charge=1.0)
    assert not CompiledExecution.in_cache(small_potential(cutoff=4.0), numbers)
    assert not CompiledExecution.in_cache(small_potential().float(), numbers)
    assert not CompiledExecution.in_cache(small_potential(), numbers.flip(0))


def test_damaged_and_foreign_files_are_made_again(numbers, positions, cache, quick):
    compiled_evaluator(small_potential(), numbers)
    (path,) = cache.iterdir()
    content = path.read_bytes()
    path.write_bytes(content[:-1])  # cut short
    assert not CompiledExecution.in_cache(small_potential(), numbers)
    assert compiled_evaluator(small_potential(), numbers).execution.compilations == 1

    # the program of another model, with a name that fits its content
    (path,) = cache.iterdir()
    key = path.name.split(".")[0]
    compiled_evaluator(small_potential(cutoff=4.0), numbers)
    (other,) = set(cache.iterdir()) - {path}
    path.unlink()
    compiler.store(key, ".pt2", lambda target: target.write_bytes(other.read_bytes()))
    assert CompiledExecution.in_cache(small_potential(), numbers)
    again = compiled_evaluator(small_potential(), numbers)
    assert again.execution.compilations == 1
    expected = eager_evaluator(small_potential(), numbers)(positions[:8], ("forces",))["forces"]
    torch.testing.assert_close(again(positions[:8], ("forces",))["forces"], expected)


def test_two_may_make_the_same_file_at_once(cache):
    barrier = threading.Barrier(2)
    paths = []

    def make(content):
        def write(target):
            barrier.wait()
            target.write_bytes(content)

        paths.append(compiler.store("program-1", ".pt2", write))

    threads = [threading.Thread(target=make, args=(content,)) for content in (b"one", b"two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(paths) == 2
    assert compiler.find("program-1", ".pt2") in paths
    assert compiler.find("program-2", ".pt2") is None
    assert set(cache.iterdir()) == set(paths)  # and nothing temporary


@pytest.mark.parametrize("on_a_gpu", [False, True])
def test_a_trace_holds_the_reverse_pass_and_no_dependence_on_where_it_was_made(
    numbers, positions, monkeypatch, on_a_gpu
):
    potential = small_potential()
    monkeypatch.setattr(pairs_module, "_scatters_pay", lambda values: not on_a_gpu)
    specification = ahead_of_time.Specification(tuple(numbers.tolist()), 1.0, 2, NAMES)
    program = ahead_of_time.trace(potential, specification).module()
    operations = {str(node.target) for node in program.graph.nodes}
    assert not operations & {"aten.index_add.default", "aten.index_put.default"}
    expected = eager_evaluator(potential, numbers, charge=1.0)(positions[:2], NAMES)
    with torch.no_grad():
        found = program(positions[:2])
    for name, value in zip(NAMES, found, strict=True):
        torch.testing.assert_close(value, expected[name], rtol=1e-11, atol=1e-11)


def test_models_whose_operations_depend_on_positions_are_refused(numbers):
    pytest.importorskip("e3nn")
    config = IrrepsGCNConfig(degrees=(0, 1), multiplicity=2, blocks=1, embedding=2)
    potential = Potential(PotentialConfig(config), References((1, 6, 8)))
    with refused(ExecutionUnavailableError, key="IrrepsGCN"):
        compiled_evaluator(potential, numbers)
    # and nothing that the attempt left behind disturbs the eager model
    eager_evaluator(potential, numbers)(torch.rand(2, 4, 3, dtype=torch.float64), NAMES)


def test_a_wrong_program_is_not_used_and_not_kept(numbers, cache, quick, monkeypatch):
    compile_program = ahead_of_time.compile_program

    def wrong(potential, specification, target):
        spoiled = copy.deepcopy(potential)
        with torch.no_grad():
            spoiled.heads["dipole"].blocks[0].mix.weight.mul_(1.001)
        compile_program(spoiled, specification, target)

    monkeypatch.setattr(ahead_of_time, "compile_program", wrong)
    with refused(ExecutionUnavailableError, key="dipole"):
        compiled_evaluator(small_potential(), numbers)
    assert not list(cache.iterdir())


def test_compiled_is_the_default_only_where_it_was_compiled(numbers, cache, quick, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/c++")
    with pytest.warns(ExecutionWarning, match=r"SchNet.*execution='compiled'") as warned:
        assert evaluator_for(schnet(), numbers).execution.name == "eager"
    assert len(warned) == 1
    evaluator_for(schnet(), numbers, execution="compiled")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert evaluator_for(schnet(), numbers).execution.name == "compiled"

    def refuse(*arguments):
        raise ExecutionUnavailableError("it does not load")

    monkeypatch.setattr(ahead_of_time, "load_program", refuse)
    with pytest.warns(ExecutionWarning, match="does not load") as warned:
        assert evaluator_for(schnet(), numbers).execution.name == "eager"
    assert len(warned) == 1


def test_programs_can_be_replayed(numbers, positions, quick):
    potential = small_potential()
    evaluator = captured_compiled(potential, numbers, capture=capture_on_the_host)
    assert evaluator.provenance["execution"] == "captured-compiled"
    assert evaluator.execution.captured.compilations > 0
    eager = eager_evaluator(potential, numbers)
    for n, quantities in ((3, NAMES), (8, NAMES), (5, ("forces",)), (3, NAMES)):
        found, expected = evaluator(positions[:n], quantities), eager(positions[:n], quantities)
        for name in quantities:
            torch.testing.assert_close(found[name], expected[name], rtol=1e-11, atol=1e-11)
    again = captured_compiled(potential, numbers, capture=capture_on_the_host, only_cached=True)
    again(positions[:8], NAMES)
    assert again.execution.captured.compilations == 0
    with refused(ExecutionUnavailableError, key="device", expected="cuda"):
        captured_compiled(potential, numbers)


def test_nothing_is_compiled_unasked(numbers, positions, quick):
    compiled_evaluator(small_potential(), numbers)  # for 8 structures, all that the model gives
    chosen = compiled_evaluator(small_potential(), numbers, only_cached=True)
    eager = eager_evaluator(small_potential(), numbers)
    for n, quantities in ((1, NAMES), (8, ("forces",)), (9, NAMES), (8, NAMES), (1, NAMES)):
        found, expected = chosen(positions[:n], quantities), eager(positions[:n], quantities)
        for name in quantities:
            torch.testing.assert_close(found[name], expected[name], rtol=1e-11, atol=1e-11)
    assert chosen.execution.compilations == 0
    compiled_evaluator(small_potential(), numbers)(positions[:1], NAMES)
    assert chosen.execution.compilations == 0


def test_a_program_that_stops_loading_is_told_once(numbers, positions, quick, monkeypatch):
    compiled_evaluator(small_potential(), numbers)(positions[:1], NAMES)
    chosen = compiled_evaluator(small_potential(), numbers, only_cached=True)

    def refuse(*arguments):
        raise ExecutionUnavailableError("it does not load")

    monkeypatch.setattr(ahead_of_time, "load_program", refuse)
    expected = eager_evaluator(small_potential(), numbers)(positions[:1], NAMES)
    with pytest.warns(ExecutionWarning, match="1 structures eagerly") as warned:
        for _ in range(2):
            found = chosen(positions[:1], NAMES)
    assert len(warned) == 1
    assert torch.equal(found["forces"], expected["forces"])


def test_ase_takes_programs_that_were_compiled_before_and_by_name(ethanol, numbers, quick):
    atoms = ethanol[[0, 1, 2, 3]]
    potential = schnet()
    expected = EqCalculator(potential, execution="eager").get_property("forces", atoms)

    def programs_used(calculator):
        (execution,) = calculator.execution._executions.values()
        return 0 if execution is None else sum(map(bool, execution._programs.values()))

    with pytest.warns(ExecutionWarning, match=r"SchNet.*eagerly|eagerly.*SchNet"):
        plain = EqCalculator(potential)
    np.testing.assert_array_equal(plain.get_property("forces", atoms), expected)
    assert programs_used(plain) == 0
    asked = EqCalculator(potential, execution="compiled")
    np.testing.assert_allclose(asked.get_property("forces", atoms), expected, atol=1e-6)
    assert programs_used(asked) == 2  # that of the start, and that for one structure
    with pytest.warns(ExecutionWarning):
        later = EqCalculator(potential)
    np.testing.assert_allclose(later.get_property("forces", atoms), expected, atol=1e-6)
    assert programs_used(later) == 2
    twin = pickle.loads(pickle.dumps(later))
    np.testing.assert_allclose(twin.get_property("forces", atoms), expected, atol=1e-6)
    with pytest.raises(InputError, match="execution: expected one of fused"):
        EqCalculator(potential, execution="fastest")
    with pytest.raises(InputError, match="kernels for SchNet"):
        EqCalculator(potential, execution="fused")


def test_without_a_compiler_or_a_cache_it_is_unavailable(numbers, monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with refused(ExecutionUnavailableError, key="compiler"):
        compiled_evaluator(schnet(), numbers)
    (tmp_path / "file").touch()
    monkeypatch.setenv("EQCALC_CACHE", str(tmp_path / "file"))
    # nor is there a place for temporary files
    monkeypatch.setattr(compiler.tempfile, "gettempdir", lambda: str(tmp_path / "file"))
    with refused(ExecutionUnavailableError, key="cache"):
        compiled_evaluator(schnet(), numbers)


def test_models_of_any_heads_copies_and_changed_parameters(numbers, positions, quick):
    potential = schnet(heads=("dipole",))
    evaluator = compiled_evaluator(potential, numbers)
    expected = eager_evaluator(potential, numbers)(positions[:3], ("dipole",))["dipole"]
    torch.testing.assert_close(evaluator(positions[:3], ("dipole",))["dipole"], expected)
    twin = copy.deepcopy(evaluator)
    torch.testing.assert_close(twin(positions[:3], ("dipole",))["dipole"], expected)
    for wrong in ("energy", "stress"):
        with refused(key="quantities", value=wrong):
            evaluator(positions[:3], (wrong,))
    with refused(key="positions"):
        evaluator(positions[:3, :2], ("dipole",))
    with torch.no_grad():
        next(potential.parameters()).mul_(2.0)
    with refused(ModelChangedError, key="model"):
        evaluator(positions[:3], ("dipole",))


@pytest.mark.skipif(compiler.compiler() is None, reason="needs a C++ compiler")
@pytest.mark.slow
def test_with_the_real_compiler(numbers, positions):
    pytest.importorskip("e3nn")
    config = LNetConfig(
        scalars=8, hidden_vectors=3, blocks=1, embedding=8, output_features=8,
        radial_functions=12, radial_width=8,
    )  # fmt: skip
    torch.manual_seed(1)
    potential = Potential(PotentialConfig(config), References((1, 6, 8)))
    evaluator = compiled_evaluator(potential, numbers)
    assert evaluator.execution.compilations == 1
    strided = positions.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    expected = eager_evaluator(potential, numbers)(positions, NAMES)
    first = evaluator(positions, NAMES)
    for found in (first, evaluator(strided, NAMES)):
        for name in NAMES:
            scale = float(expected[name].abs().max())
            torch.testing.assert_close(found[name], expected[name], rtol=0.0, atol=1e-5 * scale)
    again = compiled_evaluator(potential, numbers)
    assert again.execution.compilations == 0
    for name, value in again(positions, NAMES).items():
        assert torch.equal(value, first[name])
