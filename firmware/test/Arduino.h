// What the sketch needs of Arduino, for its test on the host: pins and a serial line in memory, and a clock to set.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

enum { INPUT_PULLUP, OUTPUT, CHANGE, A0 = 14 };

struct Board {
  uint32_t micros = 0;
  int duty[20] = {};
  bool level[20] = {};
  void (*on_change[20])() = {};
};
extern Board board;

struct Port {
  std::deque<uint8_t> incoming;
  std::vector<uint8_t> outgoing;
  void begin(uint32_t) {}
  int available() { return (int)incoming.size(); }
  int availableForWrite() { return 40; }
  int read() {
    const uint8_t byte = incoming.front();
    incoming.pop_front();
    return byte;
  }
  size_t write(uint8_t byte) {
    outgoing.push_back(byte);
    return 1;
  }
};
extern Port Serial1;

inline void pinMode(uint8_t, int) {}
inline int digitalRead(uint8_t pin) { return board.level[pin]; }
inline void analogWrite(uint8_t pin, int value) { board.duty[pin] = value; }
inline int analogRead(uint8_t) { return 600; }
inline int digitalPinToInterrupt(uint8_t pin) { return pin; }
inline void attachInterrupt(int pin, void (*function)(), int) { board.on_change[pin] = function; }
inline void noInterrupts() {}
inline void interrupts() {}
inline uint32_t micros() { return board.micros; }
