// The sketch on the host, as a program that is a robot: `test_sketch` reads lines from the standard input, each a time
// in us and bytes in hexadecimal that come in then ("-": none); runs the sketch until then in steps of 100 us; and
// writes what it has sent since, and the duty of both motors.
#include <cstdio>
#include <cstring>

#include "Arduino.h"

Board board;
Port Serial1;
void setup();
void loop();

int main() {
  static char hex[4096];
  unsigned long time;
  setup();
  while (std::scanf("%lu %4095s", &time, hex) == 2) {
    while (board.micros < time) {
      board.micros += 100;
      loop();
    }
    for (unsigned value, i = 0; std::sscanf(hex + 2 * i, "%2x", &value) == 1; i++) {
      Serial1.incoming.push_back((uint8_t)value);
    }
    for (int i = 0; i < 4; i++) {
      loop();
    }
    for (uint8_t byte : Serial1.outgoing) {
      std::printf("%02x", byte);
    }
    std::printf("%s %d %d\n", Serial1.outgoing.empty() ? "-" : "", board.duty[2] - board.duty[3],
                board.duty[4] - board.duty[5]);
    Serial1.outgoing.clear();
    std::fflush(stdout);
  }
}
