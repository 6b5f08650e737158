"""Battery, motors and speed controllers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbmrl_base.robots.millirobot.body import BatteryParameters, MotorParameters
from mbmrl_base.robots.millirobot.layout import MAX_LEG_SPEED, MIN_LEG_SPEED
from mbmrl_sim.millirobot.drive import Battery, SpeedController

MOTOR, CELL = MotorParameters(), BatteryParameters()
CONSTANT = MOTOR.torque_constant * MOTOR.gear_ratio
STEP = 1e-3

speeds = st.floats(-1.5 * MAX_LEG_SPEED, 1.5 * MAX_LEG_SPEED)
set_points = st.floats(0.0, MAX_LEG_SPEED)
voltages = st.floats(CELL.empty_voltage, CELL.full_voltage)


def run_freely(set_point: float, duration: float = 1.0) -> tuple[float, Battery]:
    """Speed of a motor that drives nothing but its own gear, and the battery that fed it."""
    controller, battery, speed = SpeedController(MOTOR), Battery(CELL), 0.0
    for _ in range(round(duration / STEP)):
        torque, current = controller.step(set_point, speed, battery.voltage, STEP)
        battery.draw(current, STEP)
        speed += torque / MOTOR.crank_inertia * STEP
    return speed, battery


@given(set_points, speeds, voltages)
def test_torque_is_limited_by_the_battery(set_point: float, speed: float, supply: float) -> None:
    torque, _ = SpeedController(MOTOR).step(set_point, speed, supply, STEP)
    limit = CONSTANT * (supply + CONSTANT * abs(speed)) / MOTOR.resistance
    assert abs(torque) <= limit * (1 + 1e-12)


def test_stall_torque_is_that_of_the_real_motor() -> None:
    torque, current = SpeedController(MOTOR).step(1e6, 0.0, CELL.initial_voltage, STEP)
    assert torque == pytest.approx(36e-3, rel=0.05)
    assert current == pytest.approx(CELL.initial_voltage / MOTOR.resistance)


@given(set_points, speeds, voltages)
def test_no_energy_from_nothing(set_point: float, speed: float, supply: float) -> None:
    torque, current = SpeedController(MOTOR).step(set_point, speed, supply, STEP)
    assert current >= 0
    assert torque * speed <= current * supply + 1e-12


@pytest.mark.parametrize("set_point", [0.0, MIN_LEG_SPEED, 30.0, MAX_LEG_SPEED])
def test_free_motor_reaches_its_set_point(set_point: float) -> None:
    speed, _ = run_freely(set_point)
    assert speed == pytest.approx(set_point, rel=0.02, abs=1e-9)


def test_free_motor_cannot_outrun_the_battery() -> None:
    speed, battery = run_freely(1e3)
    assert SpeedController(MOTOR).back_emf(speed) == pytest.approx(battery.open_circuit_voltage, rel=0.02)


def test_back_emf_is_proportional_to_speed() -> None:
    controller = SpeedController(MOTOR)
    assert controller.back_emf(MAX_LEG_SPEED) == pytest.approx(1.41e-3 * 21.3 * MAX_LEG_SPEED)
    assert controller.back_emf(-3.0) == -controller.back_emf(3.0)


def test_integral_does_not_wind_up() -> None:
    blocked = SpeedController(MOTOR)
    for _ in range(20_000):
        blocked.step(MAX_LEG_SPEED, 0.0, CELL.initial_voltage, STEP)
    torque, _ = blocked.step(0.0, 0.0, CELL.initial_voltage, STEP)
    wound_up = MOTOR.integral_gain * MOTOR.integral_limit * CELL.initial_voltage
    assert torque <= CONSTANT * wound_up / MOTOR.resistance * (1 + 1e-12)


@given(st.lists(st.floats(0.0, 3.0), min_size=1, max_size=20))
def test_battery_falls_and_never_charges(currents: list[float]) -> None:
    battery = Battery(CELL)
    for current in currents:
        before = battery.open_circuit_voltage
        battery.draw(current, 1.0)
        assert CELL.empty_voltage <= battery.open_circuit_voltage <= before
        assert battery.voltage == pytest.approx(battery.open_circuit_voltage - CELL.resistance * current)
    expected = (CELL.full_voltage - CELL.empty_voltage) * sum(currents) / CELL.capacity
    assert CELL.initial_voltage - battery.open_circuit_voltage == pytest.approx(expected, abs=1e-9)


def test_empty_battery_stays_at_the_empty_voltage() -> None:
    battery = Battery(CELL)
    battery.draw(1.0, 10 * CELL.capacity)
    assert battery.open_circuit_voltage == CELL.empty_voltage
