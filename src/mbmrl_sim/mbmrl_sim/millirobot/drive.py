"""The robot's electric drive: battery, two DC motors, and the speed controllers on board."""

from __future__ import annotations

from mbmrl_base.robots.millirobot.body import BatteryParameters, MotorParameters


class Battery:
    """A cell with internal resistance whose open-circuit voltage falls linearly with its charge."""

    def __init__(self, parameters: BatteryParameters) -> None:
        self._parameters = parameters
        self.open_circuit_voltage = parameters.initial_voltage
        self.voltage = parameters.initial_voltage
        """Voltage at the terminals, V."""
        self.drop = 0.0
        """What a fault takes off the voltage, V."""

    def draw(self, current: float, duration: float) -> None:
        """Draw a current, A, for a time, s."""
        battery = self._parameters
        fall = (battery.full_voltage - battery.empty_voltage) * current * duration / battery.capacity
        self.open_circuit_voltage = max(battery.empty_voltage, self.open_circuit_voltage - fall)
        self.voltage = self.open_circuit_voltage - self.drop - battery.resistance * current


class SpeedController:
    """Speed controller and DC motor of one side, stepped at the physics rate.

    A PI controller with feed-forward sets the duty cycle; the battery's voltage limits it. The torque
    follows from the current, which the back-EMF reduces.
    """

    def __init__(self, parameters: MotorParameters) -> None:
        self._parameters = parameters
        self._constant = parameters.torque_constant * parameters.gear_ratio
        self._integral = 0.0
        self.strength = 1.0
        """Share of its torque that the motor has left."""

    def back_emf(self, speed: float) -> float:
        """Voltage that the motor generates at a crank speed, rad/s -> V."""
        return self._constant * speed

    def step(self, set_point: float, speed: float, supply: float, duration: float) -> tuple[float, float]:
        """Control for one physics step.

        Args:
            set_point: Wanted crank speed, rad/s.
            speed: Measured crank speed, rad/s.
            supply: Battery voltage, V.
            duration: Length of the step, s.

        Returns:
            Torque on the crank, N m, and current drawn from the battery, A (never negative: the bridge
            does not charge the cell).
        """
        # Stepped a thousand times per simulated second: comparisons are quicker than min and max.
        motor, constant, limit = self._parameters, self._constant, self._parameters.integral_limit
        error = set_point - speed
        integral = self._integral + error * duration
        self._integral = integral = limit if integral > limit else -limit if integral < -limit else integral
        duty = motor.proportional_gain * error + motor.integral_gain * integral
        voltage = duty * supply + constant * set_point
        voltage = supply if voltage > supply else -supply if voltage < -supply else voltage
        current = (voltage - constant * speed) / motor.resistance
        drawn = current * voltage / supply
        return self.strength * constant * current, drawn if drawn > 0.0 else 0.0
