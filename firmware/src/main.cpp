// A walking robot with two motors that speaks the protocol mbmrl: leg speed controllers at 1 kHz, a dead-man, and
// telemetry. For the Arduino IDE, put this file and lib/mbmrl/ into one folder and name this file as the folder, .ino.
//
// Each motor has an H-bridge with two PWM inputs and a quadrature encoder on its crank. A board with an IMU, or with
// sensors of current and temperature, fills in what `measure` leaves at NAN.

#include <Arduino.h>
#include <math.h>

#include "mbmrl.h"

namespace {

const uint32_t BAUD = 460800;
const uint64_t DEVICE_ID = 0;  // draw a number for each robot, by which the host knows it again; 0: it cannot
const uint8_t FORWARD[2] = {2, 4}, BACKWARD[2] = {3, 5};     // PWM inputs of the bridges, left and right
const uint8_t ENCODER_A[2] = {6, 8}, ENCODER_B[2] = {7, 9};  // channels of the encoders
const uint8_t BATTERY = A0;
const float BATTERY_VOLTS_PER_COUNT = 2 * 3.3f / 1023;  // behind a divider by two
const float LOW_BATTERY = 3.4f;                         // V
const int32_t EDGES_PER_TURN = 1024;                    // of channel A, both edges, in one leg cycle
const float RAD_PER_EDGE = 2 * (float)M_PI / EDGES_PER_TURN;
const uint32_t CONTROL_PERIOD = 1000;  // us
const float SPEED_FILTER = 0.05f;      // share of a new measurement of the speed

volatile int32_t edges[2];
int32_t last_edges[2];
float speeds[2], sums[2];
int64_t now_us;
uint32_t last_micros, last_control;
uint8_t outgoing[512];
size_t first, waiting;
mbmrl_robot robot;

void edge(int side) { edges[side] += digitalRead(ENCODER_A[side]) == digitalRead(ENCODER_B[side]) ? 1 : -1; }
void left_edge() { edge(0); }
void right_edge() { edge(1); }

int32_t edges_of(int side) {
  noInterrupts();
  const int32_t count = edges[side];
  interrupts();
  return count;
}

void set_duty(int side, float duty) {  // -255 to 255
  const int value = (int)fminf(fabsf(duty), 255);
  analogWrite(FORWARD[side], duty > 0 ? value : 0);
  analogWrite(BACKWARD[side], duty < 0 ? value : 0);
}

// Gains are in 1/1000 of a duty of 255 steps: Kp per rad/s, Ki per rad, Kff per rad/s; Kd and anti-windup are not used.
void control() {
  for (int side = 0; side < 2; side++) {
    const int32_t count = edges_of(side), step = count - last_edges[side];
    last_edges[side] = count;
    speeds[side] += SPEED_FILTER * (step * RAD_PER_EDGE * 1e6f / CONTROL_PERIOD - speeds[side]);
    const int32_t *gains = robot.configuration.gains[side];
    const float error = robot.set_point[side] - speeds[side];
    if (!robot.enabled || robot.set_point[side] == 0) {
      sums[side] = 0;
      set_duty(side, 0);
      continue;
    }
    const float sum = sums[side] + error * CONTROL_PERIOD / 1e6f;
    const float duty = (gains[0] * error + gains[1] * sum + gains[4] * robot.set_point[side]) / 1000;
    if (fabsf(duty) < 255) {  // no windup
      sums[side] = sum;
    }
    set_duty(side, duty);
  }
}

void measure(mbmrl_measured *m) {
  m->time = (uint64_t)now_us;
  for (int side = 0; side < 2; side++) {
    m->applied[side] = robot.set_point[side];
    m->phases[side] = (int64_t)edges_of(side) * MBMRL_COUNTS_PER_TURN / EDGES_PER_TURN;
    m->speeds[side] = speeds[side];
    m->back_emf[side] = m->current[side] = m->temperature[side] = NAN;
  }
  for (int axis = 0; axis < 3; axis++) {
    m->gyro[axis] = m->acceleration[axis] = NAN;
  }
  m->battery = analogRead(BATTERY) * BATTERY_VOLTS_PER_COUNT;
  m->faults = m->battery < LOW_BATTERY ? MBMRL_LOW_BATTERY : 0;
}

// What is sent waits here, as the line's own buffer is shorter than a frame; where there is no room for a frame it is
// dropped, since waiting would hold up the controllers.
void write(void *, const uint8_t *bytes, size_t size) {
  if (size <= sizeof outgoing - waiting) {
    for (size_t i = 0; i < size; i++) {
      outgoing[(first + waiting++) % sizeof outgoing] = bytes[i];
    }
  }
}

void send() {
  for (int room = Serial1.availableForWrite(); room > 0 && waiting > 0; room--, waiting--) {
    Serial1.write(outgoing[first]);
    first = (first + 1) % sizeof outgoing;
  }
}

}  // namespace

void setup() {
  for (int side = 0; side < 2; side++) {
    pinMode(FORWARD[side], OUTPUT);
    pinMode(BACKWARD[side], OUTPUT);
    set_duty(side, 0);
    pinMode(ENCODER_A[side], INPUT_PULLUP);
    pinMode(ENCODER_B[side], INPUT_PULLUP);
  }
  attachInterrupt(digitalPinToInterrupt(ENCODER_A[0]), left_edge, CHANGE);
  attachInterrupt(digitalPinToInterrupt(ENCODER_A[1]), right_edge, CHANGE);
  Serial1.begin(BAUD);
  mbmrl_options options = {};
  options.firmware = "mbmrl sketch 1.0";
  options.motors = 2;
  options.legs = 6;
  options.rate = 200;
  options.dead_man = 0.2f;
  options.max_speed = 18 * (float)M_PI;
  options.write = write;
  options.device_id = DEVICE_ID;
  mbmrl_robot_init(&robot, &options);
}

void loop() {
  const uint32_t now = micros();
  now_us += now - last_micros;  // goes on where micros() begins anew, each 71 minutes
  last_micros = now;
  for (int left = 64; left > 0 && Serial1.available(); left--) {
    const uint8_t byte = (uint8_t)Serial1.read();
    mbmrl_robot_receive(&robot, &byte, 1, (uint64_t)now_us);
  }
  const bool due = mbmrl_robot_poll(&robot, (uint64_t)now_us);
  if (now - last_control >= CONTROL_PERIOD) {
    last_control = now;
    control();
  }
  if (due) {
    mbmrl_measured measured;
    measure(&measured);
    mbmrl_robot_tell(&robot, &measured);
  }
  send();
}
