# SPDX-License-Identifier: MIT
"""The compiled kernels give the eager function, whatever the shape of the call."""

import copy
import os
import pickle
import shutil
import signal
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

from eqcalc.calculator import EqCalculator
from eqcalc.models import PaiNNConfig, Potential, PotentialConfig, References
from eqcalc.neighbors import NeighborList
from eqcalc.runtime import (
    ExecutionUnavailableError,
    ExecutionWarning,
    ModelChangedError,
    eager_evaluator,
    evaluator_for,
    kernel_build,
)
from eqcalc.runtime import cpp_compiler as compiler
from eqcalc.runtime.cpu_kernels import FusedPotential, HalfPairs, kernel_parameters
from eqcalc.structures import Structures
from tests.conftest import make_potential
from tests.errors import refused

NAMES = ("energy", "forces", "dipole", "polarizability")
#: Read-outs of imported models.
OF_SCHNETPACK = {
    "dipole": {"atomic_dipoles": False},
    "polarizability": {"origin": "center_of_mass"},
}


def fused_evaluator(potential, numbers, **options):
    return evaluator_for(potential, numbers, execution="fused", **options)


KINDS = (eager_evaluator, fused_evaluator)

pytestmark = pytest.mark.skipif(compiler.compiler() is None, reason="needs a C++ compiler")


def test_quantities_without_read_out_are_refused(ethanol):
    """The kernels would leave in the result whatever the memory held."""
    numbers = torch.tensor(ethanol.numbers)
    positions = torch.tensor(ethanol.positions)[None]
    model = make_potential(heads=("energy", "dipole"))
    for kind in KINDS:
        evaluator = kind(model, numbers)
        assert "polarizability" not in evaluator.quantities
        with refused(key="quantities", value="polarizability"):
            evaluator(positions, ("forces", "polarizability"))


def configurations(atoms, n, generator):
    noise = 0.05 * torch.randn(n, len(atoms), 3, generator=generator, dtype=torch.float64)
    return torch.tensor(atoms.positions) + noise


def assert_same(found, expected, tolerance):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        scale = float(value.abs().max())
        torch.testing.assert_close(found[name], value, rtol=0.0, atol=tolerance * scale + 1e-15)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"features": 8},  # narrower than a vector
        {"features": 37},  # odd
        {"features": 1, "layers": 1, "radial_functions": 1},
        {"features": 128, "layers": 3},
        {"radial_basis": "gaussian", "radial_functions": 9},
        {"cutoff": 2.0},  # most pairs beyond it
        {"norm_epsilon": 1e-3},
        {"layers": 5},
        {"heads": ("energy",)},
        {"heads": ("polarizability",)},
        {"read_outs": OF_SCHNETPACK},
        {"read_outs": OF_SCHNETPACK, "features": 37},
    ],
    ids=str,
)
def test_same_function_as_eager_in_float64(ethanol, generator, options):
    potential = make_potential(**options)
    numbers = torch.tensor(ethanol.numbers)
    names = [name for name in potential.quantities if name != "stress"]
    positions = configurations(ethanol, 3, generator)
    expected = eager_evaluator(potential, numbers)(positions, names)
    assert_same(fused_evaluator(potential, numbers)(positions, names), expected, 1e-12)


@pytest.mark.parametrize("name", ["H2", "H2O", "C6H6", "CH3CH2OCH3"])
def test_same_function_for_other_molecules(name, generator):
    atoms, potential = molecule(name), make_potential()
    numbers = torch.tensor(atoms.numbers)
    positions = configurations(atoms, 5, generator)
    expected = eager_evaluator(potential, numbers)(positions, NAMES)
    assert_same(fused_evaluator(potential, numbers)(positions, NAMES), expected, 1e-12)


def test_forces_in_single_precision_are_as_close_to_the_truth_as_eager(ethanol, generator):
    numbers, positions = torch.tensor(ethanol.numbers), configurations(ethanol, 20, generator)
    truth = eager_evaluator(make_potential(features=64), numbers)(positions, NAMES)
    single = make_potential(features=64).float()
    eager, fused = (kind(single, numbers)(positions, NAMES) for kind in KINDS)
    assert_same(fused, truth, 1e-5)
    errors = [(found["forces"] - truth["forces"]).square().mean() for found in (eager, fused)]
    assert errors[1] <= errors[0]


@pytest.mark.parametrize("n", [1, 2, 3, 5, 6, 16, 37, 128])
def test_results_do_not_depend_on_the_batch_to_the_last_bit(ethanol, generator, n):
    evaluator = fused_evaluator(make_potential().float(), torch.tensor(ethanol.numbers))
    positions = configurations(ethanol, n, generator)
    together = evaluator(positions, NAMES)
    for index in {0, n // 2, n - 1}:
        alone = evaluator(positions[index : index + 1], NAMES)
        for name in NAMES:
            assert torch.equal(together[name][index], alone[name][0])


def test_results_do_not_depend_on_the_number_of_threads(ethanol, generator, monkeypatch):
    evaluator = fused_evaluator(make_potential().float(), torch.tensor(ethanol.numbers))
    positions = configurations(ethanol, 37, generator)
    expected = evaluator(positions, NAMES)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    for name, value in evaluator(positions, NAMES).items():
        assert torch.equal(value, expected[name])


def test_memory_layout_of_positions_does_not_matter(ethanol, generator):
    evaluator = fused_evaluator(make_potential(), torch.tensor(ethanol.numbers))
    positions = configurations(ethanol, 7, generator)
    expected = evaluator(positions, NAMES)
    permuted = positions.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    every_second = torch.stack([positions, positions + 1.0], dim=1).reshape(14, 9, 3)[::2]
    for layout in (permuted, every_second):
        assert not layout.is_contiguous()
        for name, value in evaluator(layout, NAMES).items():
            assert torch.equal(value, expected[name])
    one = positions[:1].expand(4, 9, 3)  # stride 0
    assert torch.equal(evaluator(one, ("energy",))["energy"], expected["energy"][:1].expand(4))


def test_results_survive_the_next_call(ethanol, generator):
    evaluator = fused_evaluator(make_potential(), torch.tensor(ethanol.numbers))
    positions = configurations(ethanol, 7, generator)
    first = evaluator(positions, NAMES)
    kept = {name: value.clone() for name, value in first.items()}
    evaluator(positions + 0.1 * torch.rand(7, 9, 3, generator=generator), NAMES)
    for name, value in kept.items():
        assert torch.equal(first[name], value)


def test_only_what_is_asked_for_is_returned(ethanol, generator):
    evaluator = fused_evaluator(make_potential().float(), torch.tensor(ethanol.numbers))
    positions = configurations(ethanol, 2, generator)
    everything = evaluator(positions, NAMES)
    for names in (("energy",), ("dipole", "forces"), ("polarizability",)):
        values = evaluator(positions, names)
        assert set(values) == set(names)
        for name in names:
            assert values[name].dtype == torch.float64
            assert torch.equal(values[name], everything[name])


def test_charged_molecules(ethanol, generator):
    numbers, positions = torch.tensor(ethanol.numbers), configurations(ethanol, 3, generator)
    potential = make_potential()
    potential.metadata["charges"] = [0.0, 1.0]
    expected = eager_evaluator(potential, numbers, charge=1.0)(positions, NAMES)
    assert_same(fused_evaluator(potential, numbers, charge=1.0)(positions, NAMES), expected, 1e-12)


def test_constants_rounded_to_single_precision_are_kept(ethanol, generator):
    numbers, positions = torch.tensor(ethanol.numbers), configurations(ethanol, 3, generator)
    for basis in ("sinc_single", "gaussian_single"):
        rounded = make_potential(radial_basis=basis)
        expected = eager_evaluator(rounded, numbers)(positions, NAMES)
        assert_same(fused_evaluator(rounded, numbers)(positions, NAMES), expected, 1e-11)


def test_atoms_without_neighbours(generator):
    potential = make_potential()
    numbers, positions = torch.tensor([8]), torch.rand(3, 1, 3, generator=generator).double()
    expected = eager_evaluator(potential, numbers)(positions, NAMES)
    found = fused_evaluator(potential, numbers)(positions, NAMES)
    for name in NAMES:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-12, atol=1e-12)


def test_ragged_batches(generator):
    potential = make_potential()
    frames = [molecule(name) for name in ("H2O", "CH3CH2OH", "O2", "C6H6", "CH4")]
    structures = Structures.from_atoms(frames)
    expected = potential.evaluate(structures, NeighborList(5.0).pairs(structures), NAMES)
    fused = FusedPotential(potential)
    found, closest = fused.evaluate(fused.composition(structures), structures, NAMES)
    assert_same(found, expected, 1e-12)
    distances = torch.pdist(structures.positions[:3])
    assert closest.distance <= float(distances.min())
    between = structures.positions[closest.receiver] - structures.positions[closest.sender]
    assert closest.distance == pytest.approx(float(between.norm()), rel=1e-14)


def test_periodic_structures_have_the_stress_of_eager():
    potential = make_potential()
    crystal = bulk("C", cubic=True)
    crystal.rattle(0.05, seed=3)
    crystal.set_cell(crystal.cell.array + np.array([[0, 0.1, 0], [0.2, 0, 0], [0, 0, 0.3]]))
    thin = bulk("N", "fcc", a=1.9)  # one atom, which is its own neighbour
    structures = Structures.from_atoms([crystal, thin])
    pairs = NeighborList(5.0, skin=0.5).pairs(structures)
    names = ("energy", "forces", "stress")
    expected = potential.evaluate(structures, pairs, names)
    fused = FusedPotential(potential)
    composition = fused.composition(structures)
    found, closest = fused.evaluate(composition, structures, names, HalfPairs.of(pairs))
    assert_same(found, expected, 1e-12)
    shortest = pairs.vectors(structures).norm(dim=-1).min()
    assert closest.distance == pytest.approx(float(shortest), rel=1e-14)


def test_positions_that_are_not_finite_give_results_that_are_not(ethanol):
    evaluator = fused_evaluator(make_potential(), torch.tensor(ethanol.numbers))
    positions = torch.tensor(ethanol.positions)[None].clone()
    positions[0, 4, 1] = torch.nan
    assert not torch.isfinite(evaluator(positions, ("energy",))["energy"]).any()


def test_parameters_changed_later_are_noticed(ethanol):
    potential = make_potential()
    evaluator = fused_evaluator(potential, torch.tensor(ethanol.numbers))
    positions = torch.tensor(ethanol.positions)[None]
    evaluator(positions, NAMES)
    with torch.no_grad():
        potential.representation.updates[1].mix.weight.mul_(1.001)
    with refused(ModelChangedError, key="model"):
        evaluator(positions, NAMES)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_and_pickles_work(ethanol, generator, copied, monkeypatch):
    evaluator = fused_evaluator(make_potential(), torch.tensor(ethanol.numbers))
    positions = configurations(ethanol, 3, generator)
    expected = evaluator(positions, NAMES)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    evaluator(positions, NAMES)  # has threads now
    for name, value in copied(evaluator)(positions, NAMES).items():
        assert torch.equal(value, expected[name])
    ethanol.calc = EqCalculator(make_potential())
    forces = ethanol.get_forces()
    ethanol.calc = copied(ethanol.calc)
    np.testing.assert_array_equal(ethanol.get_forces(), forces)


def test_forked_processes_have_threads_too(ethanol, generator, monkeypatch):
    """OpenMP would wait forever for its own, which a forked process lacks."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    evaluator = fused_evaluator(make_potential(), torch.tensor(ethanol.numbers))
    positions = configurations(ethanol, 12, generator)  # two parts
    expected = evaluator(positions, NAMES)["forces"]
    child = os.fork()
    if child == 0:
        os._exit(0 if torch.equal(evaluator(positions, NAMES)["forces"], expected) else 1)
    for _ in range(600):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        time.sleep(0.05)
    else:
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    assert status == 0


def test_wrong_shapes_are_refused(ethanol):
    evaluator = fused_evaluator(make_potential(), torch.tensor(ethanol.numbers))
    with refused(key="positions", expected="the shape [n_structures, 9, 3]"):
        evaluator(torch.zeros(9, 3, dtype=torch.float64), NAMES)


def test_the_fastest_execution_is_chosen_and_recorded(ethanol):
    numbers = torch.tensor(ethanol.numbers)
    assert evaluator_for(make_potential(), numbers).provenance["execution"] == "fused"
    eager = evaluator_for(make_potential(), numbers, execution="eager")
    assert eager.execution.name == "eager"
    assert eager.provenance["execution"] == "eager"
    with refused(key="execution"):
        evaluator_for(make_potential(), numbers, execution="fastest")


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EQCALC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # where others look for theirs
    compiler.kernel_library.cache_clear()
    yield tmp_path / "cache"
    compiler.kernel_library.cache_clear()


def test_without_a_compiler_one_warning_and_the_same_numbers(
    ethanol, generator, empty_cache, monkeypatch
):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    numbers, positions = torch.tensor(ethanol.numbers), configurations(ethanol, 2, generator)
    with pytest.warns(ExecutionWarning, match="no C\\+\\+ compiler") as warned:
        evaluator = evaluator_for(make_potential(), numbers)
    assert len(warned) == 1
    expected = eager_evaluator(make_potential(), numbers)(positions, NAMES)
    for name, value in evaluator(positions, NAMES).items():
        assert torch.equal(value, expected[name])
    with refused(ExecutionUnavailableError, key="compiler"):
        evaluator_for(make_potential(), numbers, execution="fused")


def test_libraries_of_a_wheel_come_first(tmp_path, empty_cache, monkeypatch):
    with monkeypatch.context() as usual:
        usual.delenv("EQCALC_CACHE")
        made = Path(compiler.kernel_library(torch.float32)._name)
    compiler.kernel_library.cache_clear()
    monkeypatch.setattr(kernel_build, "SOURCES", tmp_path)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    kernel_build.bundled_library("float", "x86-64-v3").write_bytes(b"of another system")
    shutil.copy(made, kernel_build.bundled_library("float", "x86-64"))
    for capability, level in (("AVX512", "x86-64-v3"), ("DEFAULT", "x86-64")):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda c=capability: c)
        expected = kernel_build.bundled_library("float", level)
        assert compiler.bundled_library(torch.float32) == expected
    assert compiler.kernel_library(torch.float32)._name == str(expected)
    assert not empty_cache.exists()
    compiler.kernel_library.cache_clear()
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    with refused(ExecutionUnavailableError, key="compiler"):  # which would be the next way
        compiler.kernel_library(torch.float32)


@pytest.mark.slow
def test_kernels_are_compiled_once(ethanol, empty_cache, monkeypatch):
    numbers = torch.tensor(ethanol.numbers)
    fused_evaluator(make_potential(), numbers)
    (library,) = empty_cache.iterdir()
    made = library.stat().st_mtime_ns
    compiler.kernel_library.cache_clear()
    monkeypatch.setattr(shutil, "which", lambda name: None)  # a second start needs no compiler
    fused_evaluator(make_potential(), numbers)
    assert library.stat().st_mtime_ns == made


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["cut", "writable", "of another", "not a library", "link"])
def test_wrong_libraries_are_not_loaded_but_made_again(ethanol, empty_cache, monkeypatch, wrong):
    """Cut ones would kill the process; what others can write would run their code."""
    compiler.kernel_library(torch.float32)
    compiler.kernel_library.cache_clear()
    (library,) = empty_cache.iterdir()
    content = library.read_bytes()
    if wrong == "cut":
        library.unlink()  # the one of this process stays mapped
        library.write_bytes(content[:-4096])
    elif wrong == "writable":
        library.chmod(0o666)
    elif wrong == "of another":
        monkeypatch.setattr(compiler.os, "geteuid", lambda: 4_000_000)
        os.chown(library, 4_000_001, -1)
    elif wrong == "link":
        library.rename(empty_cache / "elsewhere")
        library.symlink_to(empty_cache / "elsewhere")
    else:
        library.unlink()
        key = compiler.library_key(torch.float32)
        library = compiler.store(key, ".so", lambda made: made.write_bytes(b"nothing"))
    made = []
    compile_ = compiler._compile

    def counted(*arguments):
        made.append(arguments)
        compile_(*arguments)

    monkeypatch.setattr(compiler, "_compile", counted)
    evaluator = evaluator_for(make_potential().float(), torch.tensor(ethanol.numbers))
    assert (len(made), evaluator.execution.name) == (1, "fused")
    assert not [path for path in empty_cache.iterdir() if "partial" in path.name]


def test_without_a_home_or_a_writable_cache_another_folder_is_used(tmp_path, monkeypatch):
    monkeypatch.setattr(compiler.tempfile, "gettempdir", lambda: str(tmp_path))
    for name in ("EQCALC_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(compiler.Path, "home", lambda: Path("/proc/nobody"))
    with pytest.warns(compiler.CacheWarning, match="EQCALC_CACHE"):
        path = compiler.store("key", ".so", lambda made: made.write_bytes(b"code"))
    assert path.parent.stat().st_mode & 0o777 == 0o700
    with pytest.warns(compiler.CacheWarning):
        assert compiler.find("key", ".so") == path
    monkeypatch.setenv("EQCALC_CACHE", "relative")
    monkeypatch.chdir(tmp_path)
    assert compiler.cache_folder() == tmp_path / "relative"


def test_models_without_kernels_and_wrong_kernels_fall_back(ethanol, monkeypatch):
    numbers = torch.tensor(ethanol.numbers)
    with pytest.warns(ExecutionWarning, match=r"float16|bfloat16"):
        evaluator_for(make_potential().bfloat16(), numbers)
    evaluate = FusedPotential.evaluate

    def slightly_wrong(self, *arguments, **options):
        values, closest = evaluate(self, *arguments, **options)
        return {**values, "polarizability": values["polarizability"] * 1.001}, closest

    monkeypatch.setattr(FusedPotential, "evaluate", slightly_wrong)
    with pytest.warns(ExecutionWarning, match="polarizability: the fused execution deviates"):
        assert evaluator_for(make_potential(), numbers).execution.name == "eager"


def potential_with(read_outs, **options):
    config = PotentialConfig(PaiNNConfig(features=8), tuple(read_outs), read_outs)
    torch.manual_seed(2)
    return Potential(config, References(make_potential().references.elements, **options)).double()


@pytest.mark.parametrize(
    "options", [{"layers": 1}, {"layers": 3}, {"function": "shifted_softplus"}], ids=str
)
def test_without_kernels_for_the_energy_everything_runs_eagerly(ethanol, generator, options):
    """Rather than as something else that has as many parameters."""
    potential = potential_with({"energy": options, "dipole": {}})
    numbers, positions = torch.tensor(ethanol.numbers), configurations(ethanol, 2, generator)
    with refused(ExecutionUnavailableError, key="read_outs.energy"):
        kernel_parameters(potential)
    with pytest.warns(ExecutionWarning, match="running the model eagerly"):
        chosen = evaluator_for(potential, numbers)
    assert set(chosen.parts.values()) == {"eager"}
    assert torch.isfinite(chosen(positions, ("energy",))["energy"]).all()


@pytest.mark.parametrize("charge", [0.0, 1.0])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    ("head", "options"),
    [
        ("polarizability", {"origin": "center_of_charge"}),
        ("zero_point_energy", {}),
        ("homo_energy", {}),
    ],
)
def test_read_outs_without_kernels_run_beside_the_compiled_network(
    ethanol, generator, monkeypatch, head, options, threads, charge
):
    potential = potential_with(
        {"energy": {}, head: options}, scales={head: 1.7}, values={"energy": {6: -3.0, 8: 1.0}}
    )
    potential.metadata["charges"] = [0.0, 1.0]
    numbers, positions = torch.tensor(ethanol.numbers), configurations(ethanol, 13, generator)
    chosen = evaluator_for(potential, numbers, charge=charge)
    assert chosen.provenance["execution"] == "fused"
    assert chosen.parts == {
        **dict.fromkeys(("energy", "forces", "stress"), "compiled kernels"),
        head: "eager read-out",
    }
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    for names in (("energy", "forces", head), (head,), ("forces",)):
        expected = eager_evaluator(potential, numbers, charge=charge)(positions, names)
        assert_same(chosen(positions, names), expected, 1e-12)


def test_features_of_atoms_are_those_of_the_network(generator):
    potential = make_potential(features=37)  # odd: rows of the kernels are padded
    frames = [molecule(name) for name in ("H2O", "CH3CH2OH", "O2", "C6H6")]
    structures = Structures.from_atoms(frames)
    fused = FusedPotential(potential)
    found, _ = fused.evaluate(fused.composition(structures), structures, ("scalars", "vectors"))
    with torch.no_grad():
        expected = potential.representation(structures, NeighborList(5.0).pairs(structures))
    assert_same(found, dict(zip(("scalars", "vectors"), expected, strict=True)), 1e-12)


def test_read_outs_that_are_spelled_out_but_usual_have_kernels(ethanol, generator):
    usual = {"energy": {"layers": 2, "function": "silu"}, "polarizability": {"origin": "centroid"}}
    config = PotentialConfig(PaiNNConfig(features=8), tuple(usual), usual)
    references = make_potential().references
    potential = Potential(config, References(references.elements)).double()
    numbers, positions = torch.tensor(ethanol.numbers), configurations(ethanol, 2, generator)
    expected = eager_evaluator(potential, numbers)(positions, tuple(usual))
    assert_same(fused_evaluator(potential, numbers)(positions, tuple(usual)), expected, 1e-12)
