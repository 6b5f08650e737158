"""The robot's side of the protocol in C, compiled for this machine: test vectors, state machine, noise, the sketch."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mbmrl_control.hardware.codecs.mbmrl_codec import MbmrlCodec
from mbmrl_control.hardware.codecs.wire import (
    Acknowledge,
    Capabilities,
    Command,
    Configure,
    EmergencyStop,
    Enable,
    Hello,
    Message,
    Ping,
    Pong,
    Telemetry,
)

FIRMWARE = Path(__file__).resolve().parents[3] / "firmware"
VECTORS = Path(__file__).resolve().parents[2] / "vectors" / "mbmrl.txt"
STRICT = ("-Wall", "-Wextra", "-Werror", "-O1", f"-I{FIRMWARE / 'lib' / 'mbmrl'}", f"-I{FIRMWARE / 'test'}")
SAFE = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
CONFIGURE = Configure(50.0, ((800, 100, 0, 0, 2000), (800, 100, 0, 0, 2000)), 56.0, 0.15)

pytestmark = pytest.mark.skipif(
    not (shutil.which("gcc") and shutil.which("g++")), reason="needs a C and a C++ compiler (Debian: build-essential)"
)


def compiled(folder: Path, compiler: str, standard: str, *options: str | Path, link: bool = True) -> Path:
    """A program, or an object file, of sources."""
    target = folder / ("program" if link else "object.o")
    mode = ("-lm",) if link else ("-c",)
    command = [compiler, f"-std={standard}", *STRICT, *map(str, options), "-o", str(target), *mode]
    result = subprocess.run(command, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    return target


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sources = (FIRMWARE / "lib" / "mbmrl" / "mbmrl.c", FIRMWARE / "test" / "test_mbmrl.c")
    return compiled(tmp_path_factory.mktemp("c"), "gcc", "c99", "-pedantic", *SAFE, *sources)


def test_vectors_and_state_machine(program: Path) -> None:
    result = subprocess.run([program, VECTORS], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    lines = VECTORS.read_text().splitlines()
    read = sum(not line.startswith(("#", "refused robot")) for line in lines)
    assert result.stdout.startswith(f"{read} vectors, ")


def test_a_wrong_vector_would_be_seen(program: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.txt"
    wrong.write_text(VECTORS.read_text().replace(" 1 12.5 37.75\n", " 1 12.5 37.5\n"))
    assert subprocess.run([program, wrong], capture_output=True).returncode == 1


def test_no_damaged_frame_is_taken_and_no_sound_one_missed(program: Path) -> None:
    result = subprocess.run([program, "fuzz", "100000", "1"], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    assert "wrong frames accepted 0, next frame missed 0" in result.stdout


def test_c_allocates_nothing_and_has_no_state_of_its_own(tmp_path: Path) -> None:
    found = compiled(tmp_path, "gcc", "c99", "-pedantic", FIRMWARE / "lib" / "mbmrl" / "mbmrl.c", link=False)
    symbols = [line.split()[-2:] for line in subprocess.check_output(["nm", found], text=True).splitlines()]
    assert {name for kind, name in symbols if kind == "U"} <= {
        *("memcpy", "memset", "fminf", "fmaxf", "__stack_chk_fail", "_GLOBAL_OFFSET_TABLE_"),
    }
    assert not [name for kind, name in symbols if kind in "bBdDC"]


# The sketch


@dataclass
class Sketch:
    """The sketch as a process, and a host's codec that speaks to it."""

    process: subprocess.Popen[str]
    host: MbmrlCodec

    def at(self, time: float, *messages: Message) -> tuple[list[Message], tuple[int, int]]:
        """Let it run until a time, s, and hear messages; returns what it has said, and the motors' duty."""
        data = b"".join(map(self.host.encode, messages))
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"{round(time * 1e6)} {data.hex() or '-'}\n")
        self.process.stdin.flush()
        said, left, right = self.process.stdout.readline().split()
        return self.host.feed(bytes.fromhex(said.strip("-"))), (int(left), int(right))


@pytest.fixture(scope="module")
def sketch_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sketch")
    library = compiled(folder, "gcc", "c99", FIRMWARE / "lib" / "mbmrl" / "mbmrl.c", link=False)
    sources = (FIRMWARE / "src" / "main.cpp", FIRMWARE / "test" / "test_sketch.cpp", library)
    return compiled(folder, "g++", "c++14", *sources)


@pytest.fixture
def sketch(sketch_program: Path) -> Iterator[Sketch]:
    with subprocess.Popen([sketch_program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Sketch(process, MbmrlCodec("host"))


def walk(sketch: Sketch) -> None:
    """Hand-shake, settings, enable, and a command at 0.1 s."""
    (hello,), _ = sketch.at(0.01, Hello(1, 5))
    assert isinstance(hello, Capabilities) and (hello.motors, hello.legs, hello.version) == (2, 6, 1)
    (configured, *_), _ = sketch.at(0.02, CONFIGURE)
    assert configured == Acknowledge("Configure", True)
    said, _ = sketch.at(0.03, Enable(True))
    assert Acknowledge("Enable", True) in said
    sketch.at(0.1, Command(1, 20.0, 30.0))


def test_sketch_walks_and_tells(sketch: Sketch) -> None:
    walk(sketch)
    said, duty = sketch.at(0.2)
    told = [message for message in said if isinstance(message, Telemetry)]
    assert len(told) == 5
    assert told[-1].applied == (20.0, 30.0) and told[-1].command_sequence == 1
    assert told[-1].time - told[0].time == pytest.approx(0.08, abs=1e-3)
    assert 0 < duty[0] < duty[1]
    assert sketch.at(0.21, Ping(8))[0][-1] == Pong(8)


def test_sketch_stops_when_the_host_dies(sketch: Sketch) -> None:
    walk(sketch)
    assert sketch.at(0.245)[1] > (0, 0)
    said, duty = sketch.at(0.3)
    assert duty == (0, 0)
    assert sum(message.faults == ("dead_man",) for message in said if isinstance(message, Telemetry)) == 1
    sketch.at(0.31, Command(2, 20.0, 30.0))
    assert sketch.at(0.32)[1] > (0, 0)


@pytest.mark.parametrize("message", [EmergencyStop(), Enable(False), Hello(1, 6), Command(2, 0.0, 0.0)], ids=str)
def test_sketch_stops_when_told(sketch: Sketch, message: Message) -> None:
    walk(sketch)
    sketch.at(0.12, message)
    assert sketch.at(0.122)[1] == (0, 0)
