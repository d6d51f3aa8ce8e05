# SPDX-License-Identifier: MIT
"""What files of series say of themselves: times, steps, units, the order of their columns."""

import time

import numpy as np
import pytest

from eqcalc.spectra import infrared, read_series
from eqcalc.spectra.io.formats.base import unit_in
from eqcalc.spectra.io.formats.outputs import RestartWarning
from eqcalc.validation import InvalidFileError, InvalidInputError
from tests.errors import refused

RNG = np.random.default_rng(5)
N = 40
DIPOLE = RNG.normal(size=(N, 3))
SYMMETRIC = RNG.normal(size=(N, 3, 3))
ALPHA = np.diag([10.0, 9.0, 8.0]) + 0.1 * (SYMMETRIC + SYMMETRIC.swapaxes(1, 2))
#: Places of the usual order xx yy zz yz xz xy, and of xx xy xz yy yz zz.
USUAL = ALPHA[:, [0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
UPPER = ALPHA[:, [0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]]


def rows(times, values, template="{}", separator=" "):
    """Return lines of a time, written by a template, and values."""
    return "".join(
        separator.join([template.format(t), *(f"{x:.8f}" for x in v)]) + "\n"
        for t, v in zip(times, values, strict=True)
    )


def read(tmp_path, text, *arguments, format="columns", name="a.txt", **options):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    key = [[1, 2, 3]] if format == "columns" and not arguments else arguments
    found = read_series([path], format, *key, **options)
    (values,) = found.values()
    return values, found.interval, found.unit


# --- times in columns -----------------------------------------------------------------


UNEVEN = {
    "one frame was lost": (np.delete(np.arange(N + 1), 20), 21, "1 missing between 19 and 21"),
    "three were lost": (
        np.delete(np.arange(N + 3) * 0.5, [7, 8, 9]),
        8,
        "3 missing between 3 and 5",
    ),
    "two strides": (
        np.concatenate([np.arange(20), 20 + 5 * np.arange(20)]),
        22,
        "steps of 1 to 5: a variable time step, or strides",
    ),
    "a variable step": (
        np.cumsum(np.linspace(0.5, 1.5, N)),
        3,
        "steps of 0.5256 to 1.5: a variable time step, or strides",
    ),
    "a restart": ([*range(30), *range(20, 30)], 31, "missing or repeated (a restart?)"),
    "a frame twice": ([*range(30), *range(29, 39)], 31, "missing or repeated (a restart?)"),
}


@pytest.mark.parametrize("kind", UNEVEN)
@pytest.mark.parametrize("header", ["", "# TimeStep v_x v_y v_z\n", "t,mu_x,mu_y,mu_z\n"])
def test_a_rising_column_is_time_and_must_be_even(tmp_path, kind, header):
    times, line, problem = UNEVEN[kind]
    n = header.count("\n")
    with refused(InvalidFileError, key=f"line {line + n}", problem=f"frames: {problem}"):
        read(tmp_path, header + rows(times, DIPOLE), interval=1.0)


def test_a_rising_column_that_the_header_names_otherwise_is_none(tmp_path):
    energies = np.cumsum(RNG.uniform(0.1, 2.0, N))
    text = "# energy mu_x mu_y mu_z\n" + rows(energies, DIPOLE)
    assert np.allclose(read(tmp_path, text, interval=0.5)[0], DIPOLE, atol=1e-8)
    # a sentence is no list of titles
    with refused(InvalidFileError, key="line 3"):
        read(tmp_path, text.replace("energy mu_x mu_y mu_z", "made by our code"), interval=0.5)


def test_the_last_column_may_be_the_time(tmp_path):
    times = np.delete(np.arange(N + 1) * 0.5, 20)
    text = "".join(
        f"{row[0]} {row[1]} {row[2]} H {t}\n" for t, row in zip(times, DIPOLE, strict=True)
    )
    with refused(InvalidFileError, key="line 21"):
        read(tmp_path, text, [0, 1, 2], interval=0.5)
    assert len(read(tmp_path, "# x y z atom cpu\n" + text, [0, 1, 2], interval=0.5)[0]) == N


def test_what_files_say_goes_on_to_the_spectrum(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("# time(fs) x(D) y(D) z(D)\n" + rows(0.5 * np.arange(N), DIPOLE))
    found = read_series([path], "columns", [1, 2, 3])
    spectrum = infrared(found, temperature=300.0, lag=5.0)
    assert np.allclose(
        spectrum.values,
        infrared(dict(found), temperature=300.0, interval=0.5, unit="D", lag=5.0).values,
    )
    with refused(key="interval", value=1.0):
        infrared(found, temperature=300.0, interval=1.0, lag=5.0)
    with refused(key="unit", value="e*Å"):
        infrared(found, temperature=300.0, unit="e*Å", lag=5.0)


def test_a_column_of_times_is_no_dipole(tmp_path):
    text = rows(0.5 * np.arange(N), DIPOLE)
    with refused(InvalidInputError, key="columns", value=[0, 1, 2]):
        read(tmp_path, text, [0, 1, 2], interval=0.5)
    with refused(InvalidInputError, key="columns", value=[0, 1, 2]):
        read(tmp_path, "# Step x y z\n" + rows(np.arange(N), DIPOLE), [0, 1, 2], interval=0.5)


def test_times_with_few_digits_are_even(tmp_path):
    times = 0.0005 * np.arange(N)  # 0.5 fs in ps: 0.000 0.001 0.001 0.002
    text = "# time[ps] x y z\n" + rows(times, DIPOLE, "{:.3f}")
    assert np.allclose(read(tmp_path, text, interval=0.5)[0], DIPOLE, atol=1e-8)
    text = "# time[ps] x y z\n" + rows(0.24189 * np.arange(N), DIPOLE, "{:.2f}")
    assert read(tmp_path, text)[1] == pytest.approx(241.9, rel=1e-3)


XVG = (
    '# gmx dipoles\n@ title "Total dipole"\n@ xaxis label "Time (ps)"\n@ yaxis label "(Debye)"\n'
    '@TYPE xy\n@ s0 legend "Mx"\n'
)
IPI = (
    "# column   1     --> step : The current simulation time step.\n"
    "# column   2     --> time{picosecond} : The elapsed simulation time.\n"
    "# cols.    3-5   --> dipole{debye} : The dipole.\n"
)


@pytest.mark.parametrize(
    ("header", "scale"),
    [
        ("# Time (ps)  mu_x (D)  mu_y (D)  mu_z (D)\n", 1e3),
        ("time[fs] x[Debye] y[Debye] z[Debye]\n", 1.0),
        ("t/fs,mux/D,muy/D,muz/D\n", 1.0),
        ("# dipole moment in debye\ntime_ps;x;y;z\n", 1e3),
        ("#! FIELDS time{nanosecond} d.x{Debye} d.y{Debye} d.z{Debye}\n", 1e6),
        (XVG, 1e3),
    ],
)
def test_times_and_units_of_a_header_are_used_and_compared(tmp_path, header, scale):
    text = header + rows(0.5 / scale * np.arange(N), DIPOLE, "{:.10g}")
    values, interval, unit = read(tmp_path, text)
    assert np.allclose(values, DIPOLE, atol=1e-8)
    assert interval == pytest.approx(0.5)
    assert unit == "D"
    assert read(tmp_path, text, interval=0.5, unit="debye")[1:] == (0.5, "debye")
    with refused(value="0.5 fs", expected="0.0005 fs, the stated interval"):
        read(tmp_path, text, interval=0.0005)
    with refused(value="D", expected="e*Å, the stated one"):
        read(tmp_path, text, unit="e*Å")


def test_properties_of_ipi(tmp_path):
    text = IPI + "".join(f"{2 * i} {rows([1e-3 * i], [v])}" for i, v in enumerate(DIPOLE))
    assert read(tmp_path, text, [2, 3, 4], timestep=0.5)[1:] == (pytest.approx(1.0), "D")
    with refused(key="column 0 (step), 2 × timestep", value="0.5 fs"):
        read(tmp_path, text, [2, 3, 4], timestep=0.25, interval=1.0)


def test_times_without_a_unit_fit_some_unit(tmp_path):
    for header in ("", "# time x y z\n"):
        for step in (0.5, 0.0005, 0.5 / 0.02418884):
            text = header + rows(step * np.arange(N), DIPOLE, "{:.9g}")
            assert read(tmp_path, text, interval=0.5)[1] == 0.5
            with refused(expected="0.6 fs, the stated interval"):
                read(tmp_path, text, interval=0.6)
    assert read(tmp_path, rows(np.arange(N), DIPOLE), interval=0.6)[1] == 0.6  # frames are counted


def test_steps_times_the_time_step_are_the_interval(tmp_path):
    lammps = "# Time-averaged data for fix dip\n# TimeStep v_x v_y v_z\n"
    lammps += rows(4 * np.arange(N), DIPOLE)
    gpumd = rows(4 * np.arange(N), DIPOLE)
    ipi = "".join(
        f"#EXTRAS(dipole)# Step: {4 * i}\n{rows([v[0]], [v[1:]])}" for i, v in enumerate(DIPOLE)
    )
    for text, format in ((lammps, "columns"), (gpumd, "gpumd"), (ipi, "i-pi")):
        read(tmp_path, text, format=format, timestep=0.25, interval=1.0)
        with refused(value="2 fs", expected="1 fs, the stated interval"):
            read(tmp_path, text, format=format, timestep=0.5, interval=1.0)


def test_a_log_of_lammps(tmp_path):
    table = rows(2 * np.arange(N), DIPOLE).splitlines(keepends=True)
    log = (
        "LAMMPS (2 Aug 2023)\n  1 by 1 by 1 MPI processor grid\nPer MPI rank memory = 3 Mbytes\n"
        "   Step          v_x            v_y            v_z      \n"
        + "".join(table[:7])
        + "WARNING: Bond atoms missing on proc 0 (src/x.cpp:1)\n"
        + "".join(table[7:])
        + "Loop time of 4.2 on 1 procs for 80 steps with 3 atoms\n\n97.1% CPU use\n"
    )
    assert np.allclose(read(tmp_path, log, interval=1.0)[0], DIPOLE, atol=1e-8)
    with refused(InvalidFileError, key="line 12"):
        read(tmp_path, log.replace("WARNING", "Fix"), interval=1.0)


def test_spreadsheets(tmp_path):
    text = "Zeit [fs]\tx [D]\ty [D]\tz [D]\t\r\n" + rows(0.5 * np.arange(N), DIPOLE, separator="\t")
    german = text.replace(".", ",")
    for form in (
        text,
        german,
        german.replace("\t", ";"),
        text.replace("\t", ",").replace(",\r", "\r"),
    ):
        values, interval, unit = read(tmp_path, form, interval=0.5)
        assert np.allclose(values, DIPOLE, atol=1e-8)
        assert (interval, unit) == (0.5, "D")


@pytest.mark.parametrize("word", ["1_10", "nan", "inf", "1e999", "******", "１", "0.1-0.2"])
def test_what_is_no_number_is_named(tmp_path, word):
    lines = rows(np.arange(N), DIPOLE).splitlines()
    lines[5] = f"5 {word} 0.1 0.2"
    with refused(InvalidFileError, key="line 6", value=lines[5]):
        read(tmp_path, "\n".join(lines))
    moments = "".join("X= {:.6f} Y= {:.6f} Z= {:.6f}\n".format(*v) for v in DIPOLE)
    with refused(InvalidFileError, key="line 41", value=f"{word} 1 2"):
        read(tmp_path, f"{moments}X= {word} Y= 1 Z= 2\n", format="cp2k")
    frame = f'1\nProperties=species:S:1:pos:R:3 mu="1 {word} 2"\nH 0 0 0\n'
    with refused(InvalidFileError, key="frame 0, mu"):
        read(tmp_path, frame * 2, "mu", format="extxyz")


@pytest.mark.parametrize("comment", ["a" * 10**5, "k={" * 10**5, "k=[" * 10**5, 'k="' * 10**5])
def test_long_comments_take_time_by_their_length(tmp_path, comment):
    began = time.process_time()
    with refused(InvalidFileError, key="frame 0"):
        read(tmp_path, f"1\n{comment}\nH 0 0 0\n", "mu", format="extxyz")
    assert time.process_time() - began < 2.0


# --- outputs --------------------------------------------------------------------------


def cp2k(steps, moments=1, start=True, unit="Debye"):
    """Return an output of CP2K with this number of moments at each step."""
    k = iter(range(10**6))

    def moment():
        x = np.sin(next(k))
        return f"  Dipole moment [{unit}]\n    X= {x:.8f} Y= 0.1 Z= -0.2     Total= 1.0\n"

    text = moment() if start else ""
    for i in steps:
        text += moment() * moments + f" MD| Step number   {i}\n MD| Time [fs]   {0.5 * i:.6f}\n"
    return text


def test_moments_of_cp2k_are_counted(tmp_path):
    for start in (True, False):
        values, interval, unit = read(tmp_path, cp2k(range(1, N), start=start), format="cp2k")
        assert len(values) == N - 1 + start
        assert (interval, unit) == (pytest.approx(0.5), "D")
    with refused(value="117 moments", expected="one for each of 39 steps"):
        read(tmp_path, cp2k(range(1, N), 3, start=False), format="cp2k")
    text = cp2k(range(1, N), start=False)
    sparse = text.replace("X= 0.9", "Q= 0.9")
    with refused(expected="one for each of 39 steps"):
        read(tmp_path, sparse, format="cp2k")
    with refused(InvalidFileError, key="Time [fs]", value="0.5 fs"):
        read(tmp_path, text, format="cp2k", interval=1.0)
    with refused(InvalidFileError, value="D", expected="e*Å, the stated one"):
        read(tmp_path, text, format="cp2k", unit="e*Å")


def test_a_restart_of_cp2k_that_goes_on_is_one_series(tmp_path):
    first = cp2k(range(1, 20), start=False)
    last = first[first.rindex("  Dipole") : first.rindex(" MD| Step")]
    second = first.replace("X= ", "X= 0").replace("X= 0-", "X= -0")
    for i in range(19, 0, -1):
        second = second.replace(f"number   {i}\n", f"number   {i + 19}\n")
        second = second.replace(f"[fs]   {0.5 * i:.6f}", f"[fs]   {0.5 * (i + 19):.6f}")
    second = second.replace("Y= 0.1", "Y= 0.3")
    values, interval, _ = read(
        tmp_path, f"{first} ** PROGRAM STARTED AT noon\n{last}{second}", format="cp2k"
    )
    assert len(values) == 38
    assert interval == pytest.approx(0.5)
    with refused(value="39 moments", expected="one for each of 38 steps"):
        read(tmp_path, first + last + second, format="cp2k")


@pytest.mark.parametrize("start", [True, False])
def test_a_restart_of_cp2k_replaces_the_steps_after_its_start(tmp_path, start):
    """Steps 1 to 19, then from the checkpoint of step 12 again to 30."""
    whole = cp2k(range(1, 31), start=start)
    first = whole[: whole.index("  Dipole", whole.index("number   19"))]
    text = whole[whole.rindex("  Dipole", 0, whole.index("number   12\n")) :]
    moment, second = text[: text.index(" MD|")], text[text.index("  Dipole", 9) :]
    lost = "  Dipole moment [Debye]\n    X= 9.0 Y= 0.1 Z= -0.2     Total= 1.0\n"
    other = first.replace("Y= 0.1", "Y= 0.2")
    kept = first.index("  Dipole", first.index("number   12\n"))
    # what the run before the restart went on with is not in the result
    text = f"{first[:kept]}{other[kept:]}{lost} ** PROGRAM STARTED AT noon\n{moment}{second}"
    with pytest.warns(RestartWarning, match="steps 13 to 19"):
        values, interval, _ = read(tmp_path, text, format="cp2k")
    np.testing.assert_array_equal(values, read(tmp_path, whole, format="cp2k")[0])
    assert interval == pytest.approx(0.5)
    with refused(InvalidFileError):
        read(tmp_path, text.replace("PROGRAM STARTED", "PROGRAM"), format="cp2k")


def test_an_outcar_that_was_cut_off(tmp_path):
    head = " vasp.6.4.2\n   POTIM  =   0.5000    time-step for ionic-motion\n"
    steps = [
        f"--- Iteration {i + 1:6d}(   1)  ---\n"
        f" dipolmoment  {v[0]:.6f} {v[1]:.6f} {v[2]:.6f} electrons Angstroem\n"
        " POSITION          TOTAL-FORCE (eV/Angst)\n"
        for i, v in enumerate(DIPOLE)
    ]
    text = head + "".join(steps)
    values, interval, unit = read(tmp_path, text[: text.rindex("electrons")], format="vasp")
    assert np.allclose(values, DIPOLE[:-1], atol=1e-6)
    assert (interval, unit) == (0.5, "e*Å")
    with refused(key="POTIM", value="0.5 fs", expected="1 fs, the stated interval"):
        read(tmp_path, text, format="vasp", interval=1.0)


def test_times_of_extxyz(tmp_path):
    def frames(key, step, unit=""):
        return "".join(
            f'2\nProperties=species:S:1:pos:R:3 mu="{v[0]:.6f} {v[1]:.6f} {v[2]:.6f}"{unit} '
            f'{key}={step * i:.10g} pbc="F F F"\nO 0 0 0\nH 0 0 1\n'
            for i, v in enumerate(DIPOLE)
        )

    arguments = {"format": "extxyz", "interval": 0.5}
    for key, step in (
        ("time", 0.5),
        ("Time", 0.0005),
        ("time_fs", 0.5),
        ("step", 3),
        ("time_ps", 5e-4),
    ):
        assert read(tmp_path, frames(key, step), "mu", **arguments)[1] == 0.5
    for key, step in (("Time", 1.0), ("time_fs", 0.0005), ("time_ps", 0.5)):
        with refused(InvalidFileError, key=key, expected="0.5 fs, the stated interval"):
            read(tmp_path, frames(key, step), "mu", **arguments)
    text = frames("time_fs", 0.25, ' mu_unit="Debye"')
    assert read(tmp_path, text, "mu", format="extxyz")[1:] == (0.25, "D")
    with refused(InvalidFileError, key="line 4", expected="the number of atoms of a frame"):
        read(tmp_path, text.replace("2\n", "1\n", 1), "mu", format="extxyz")


# --- polarizabilities -----------------------------------------------------------------


def test_columns_of_a_polarizability_are_in_order(tmp_path):
    usual, upper = (rows(np.arange(N), six) for six in (USUAL, UPPER))
    six = [1, 2, 3, 4, 5, 6]
    assert np.allclose(read(tmp_path, usual, six)[0], USUAL, atol=1e-8)
    with refused(InvalidFileError, key="polarizability") as caught:
        read(tmp_path, upper, six)
    assert caught.value.expected == "xx yy zz yz xz xy, in this order"
    assert "xx xy xz yy yz zz" in caught.value.advice
    assert np.allclose(read(tmp_path, upper, [1, 4, 6, 5, 3, 2])[0], USUAL, atol=1e-8)
    fluctuations = UPPER - UPPER.mean(0)  # nothing is known of these
    assert np.allclose(
        read(tmp_path, rows(np.arange(N), fluctuations), six)[0], fluctuations, atol=1e-8
    )
    shifted = rows(RNG.normal(size=N), np.column_stack([np.arange(N), USUAL]))
    for columns in ([1, 2, 3, 4, 5, 6], [3, 4, 5, 6, 7, 2]):
        with refused(InvalidInputError):
            read(tmp_path, shifted, columns)


def test_nine_columns_are_symmetric(tmp_path):
    nine = rows(RNG.normal(size=N), ALPHA.reshape(N, 9))
    assert np.allclose(read(tmp_path, nine, list(range(1, 10)))[0], ALPHA, atol=1e-8)
    with refused(InvalidFileError, key="polarizability"):
        read(tmp_path, nine, list(range(9)))
    # finite fields are symmetric to a per cent
    noisy = ALPHA * (1.0 + 0.01 * RNG.normal(size=ALPHA.shape))
    read(tmp_path, rows(np.arange(N), noisy.reshape(N, 9)), list(range(1, 10)))


@pytest.mark.parametrize(
    ("text", "n", "unit"),
    [
        ("Dipole moment [Debye]", 3, "D"),
        ("electrons Angstroem", 3, "e*Å"),
        ("(e*Ang)", 3, "e*Å"),
        ("mu_x [a.u.]", 3, "e*bohr"),
        ("alpha {atomic_unit}", 9, "bohr^3"),
        ("(A^3)", 6, "Å^3"),
        ("axx(Bohr3)", 6, "bohr^3"),
        ("dipole_debye", 3, "D"),
        ("alpha_bohr3", 6, "bohr^3"),
        ("dipole [C m]", 3, "C*m"),
        ("[1e-30 C·m]", 3, "10^-30*C*m"),
        ("Time (ps)", 3, None),
        ("v_x", 3, None),
        ("[Å^3]", 3, None),
    ],
)
def test_units_in_texts(text, n, unit):
    assert unit_in(text, n) == unit


# --- components in titles -------------------------------------------------------------


@pytest.mark.parametrize(
    ("titles", "columns", "right"),
    [
        ("step axx ayy azz axy axz ayz", [1, 2, 3, 4, 5, 6], "1,2,3,6,5,4"),
        ("step xx xy xz yy yz zz", [1, 2, 3, 4, 5, 6], "1,4,6,5,3,2"),
        ("step q1 mu_x[D] mu_y[D] mu_z[D] E F", [1, 2, 3], "2,3,4"),
    ],
)
def test_titles_say_the_order_of_the_components(tmp_path, titles, columns, right):
    values = USUAL + 20.0
    text = f"# {titles}\n{rows(range(N), values)}"
    with refused(key="columns", value=columns) as found:
        read(tmp_path, text, columns, interval=1.0, unit="D" if len(columns) == 3 else "Å^3")
    assert found.value.advice.endswith(right)
    good = [int(column) for column in right.split(",")]
    if len(good) == 3:
        taken, _, _ = read(tmp_path, text, good, interval=1.0, unit="D")
        assert taken == pytest.approx(values[:, 1:4], abs=1e-7)


def test_titles_without_components_say_nothing_of_the_order(tmp_path):
    for titles in ("step a b c", "made by our code", "step dip dip dip", "n col11 col12 col13"):
        text = f"# {titles}\n{rows(range(N), DIPOLE)}"
        assert read(tmp_path, text, interval=1.0, unit="D")[0] == pytest.approx(DIPOLE, abs=1e-7)


@pytest.mark.parametrize(
    ("titles", "columns", "unit"),
    [
        ("step energy flux max", [1, 2, 3], "D"),
        ("time dip dip dip total", [2, 3, 4], "D"),
        ("step axx ayy azz", [1, 2, 3], "D"),
        ("step iso aniso a b c d", [1, 2, 3, 4, 5, 6], "Å^3"),
        ("step a11 a12 a13 a22 a23 a33", [1, 2, 3, 4, 5, 6], "Å^3"),
        ("step\ttrace\tperpendicular\tb", [1, 2, 3], "D"),
        ("step vel_x vel_y vel_z", [1, 2, 3], "D"),
        ("step vx vy vz", [1, 2, 3], "D"),
        ("step Fx Fy Fz", [1, 2, 3], "D"),
        ("step dmu_x/dt dmu_y/dt dmu_z/dt", [1, 2, 3], "D"),
        ("step dipole_dot_x dipole_dot_y dipole_dot_z", [1, 2, 3], "D"),
        ("step current_x current_y current_z", [1, 2, 3], "D"),
        ("step Jx Jy Jz", [1, 2, 3], "D"),
    ],
)
def test_titles_that_are_no_components_are_refused(tmp_path, titles, columns, unit):
    values = [
        [a, *(b for b, _ in zip([*more, *more], titles.split()[2:], strict=False))]
        for a, more in zip(DIPOLE[:, 0], USUAL, strict=True)
    ]
    with refused(InvalidInputError, key="columns", value=columns):
        read(tmp_path, f"# {titles}\n{rows(range(N), values)}", columns, interval=1.0, unit=unit)


def test_titles_without_components_say_times_and_units(tmp_path):
    """Those of a table that are no x, y and z."""
    text = rows(0.5e-3 * np.arange(N), DIPOLE, "{:.4f}", ";")
    for titles in ("Time (ps);a (D);b (D);c (D)", "t_ps;a_debye;b_debye;c_debye"):
        assert read(tmp_path, f"{titles}\n{text}")[1:] == (pytest.approx(0.5), "D")
        with refused(value="0.5 fs"):
            read(tmp_path, f"{titles}\n{text}", interval=0.0005)
    blanks = f"# time[ps] dip dip dip\n{text.replace(';', ' ')}"
    assert read(tmp_path, blanks, unit="D")[1] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("title", "unit"),
    [
        ("mu_{}_D", "D"),
        ("mu_debye_{}", "D"),
        ("dip_{}_au", "e*bohr"),
        ("d{} (10^-30 C m)", "10^-30*C*m"),
        ("{}_Cm", "C*m"),
    ],
)
def test_units_in_names_of_columns(tmp_path, title, unit):
    titles = ",".join(title.format(c) for c in "xyz")
    text = f"t_fs,{titles}\n{rows(0.5 * np.arange(N), DIPOLE, separator=',')}"
    assert read(tmp_path, text)[1:] == (0.5, unit)
    with refused(InvalidFileError, value=unit):
        read(tmp_path, text, unit="e*Å")
    with refused(key="columns", value=[1, 3, 2]):
        read(tmp_path, text, [1, 3, 2])


def test_units_in_names_of_keys(tmp_path):
    text = "".join(
        f'1\nProperties=species:S:1:pos:R:3 dipole_debye="{row[0]} {row[1]} {row[2]}"\nH 0 0 0\n'
        for row in DIPOLE
    )
    assert read(tmp_path, text, "dipole_debye", format="extxyz", interval=1.0)[2] == "D"
    with refused(InvalidFileError, value="D", expected="e*Å, the stated one"):
        read(tmp_path, text, "dipole_debye", format="extxyz", interval=1.0, unit="e*Å")


@pytest.mark.parametrize("stated", ["dipole_unit=D", 'units="dipole:D"', "unit_dipole='Debye'"])
def test_units_of_attributes_of_extxyz(tmp_path, stated):
    """The unit may be a single letter, the numbers those of JSON."""
    text = "".join(
        f'1\nProperties=species:S:1:pos:R:3 dipole="_JSON {row.tolist()}" {stated} '
        f"step={i}\nH 0 0 0\n"
        for i, row in enumerate(DIPOLE)
    )
    assert read(tmp_path, text, "dipole", format="extxyz", interval=1.0)[2] == "D"
    with refused(InvalidFileError, key="frame 0, dipole", value="D"):
        read(tmp_path, text, "dipole", format="extxyz", interval=1.0, unit="e*Å")


def test_legends_of_gromacs_are_titles(tmp_path):
    legends = "".join(f'@ s{i} legend "{x}"\n' for i, x in enumerate(LEGENDS))
    values = np.column_stack([DIPOLE, np.linalg.norm(DIPOLE, axis=1)])
    text = XVG.replace('@ s0 legend "Mx"\n', legends) + rows(5e-4 * np.arange(N), values, "{:.4f}")
    found, interval, unit = read(tmp_path, text)
    assert found == pytest.approx(DIPOLE, abs=1e-7)
    assert (interval, unit) == (pytest.approx(0.5), "D")
    with refused(InvalidInputError, key="columns", value=[2, 3, 4]):
        read(tmp_path, text, [2, 3, 4])


LEGENDS = ("M\\sx \\N", "M\\sy \\N", "M\\sz \\N", "|M\\stot \\N|")


def test_a_unit_of_the_time_is_not_that_of_the_quantity(tmp_path):
    text = "# t(a.u.) x y z\n" + rows(20.670687 * np.arange(N), DIPOLE)
    assert read(tmp_path, text, unit="D")[1:] == (pytest.approx(0.5), "D")
    text = "# dipole moments in atomic units\n# time/fs x y z\n" + rows(0.5 * np.arange(N), DIPOLE)
    assert read(tmp_path, text)[1:] == (0.5, "e*bohr")
