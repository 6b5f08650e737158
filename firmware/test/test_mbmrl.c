/* Tests of lib/mbmrl on the host: `test_mbmrl VECTORS` reads the test vectors and tries the state machine,
 * `test_mbmrl fuzz INPUTS SEED` feeds a robot with damaged, random and valid bytes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mbmrl.h"

#define SESSION 305419896u

static int failures, checks;

static void check(bool good, const char *what) {
  checks++;
  if (!good) {
    failures++;
    fprintf(stderr, "failed: %s\n", what);
  }
}

/* A robot and what it sent last */

static mbmrl_frame answers[64];
static int answered;

static void keep(void *context, const uint8_t *bytes, size_t size) {
  (void)context;
  if (bytes[0] || bytes[size - 1] || !mbmrl_decode(bytes + 1, size - 2, &answers[answered++ % 64])) {
    check(false, "the robot sent what is no frame");
  }
}

static mbmrl_robot a_robot(void) {
  const mbmrl_options options = {"test 1", 2, 6, 100, 0.2f, 60, NULL, keep, NULL, 7};
  mbmrl_robot robot;
  mbmrl_robot_init(&robot, &options);
  answered = 0;
  return robot;
}

static void receive(mbmrl_robot *robot, uint8_t type, uint16_t number, uint32_t session, const void *payload,
                    uint8_t size, uint64_t now) {
  uint8_t bytes[MBMRL_MAX_FRAME + 2];
  mbmrl_frame frame = {type, number, session, size, {0}};
  if (size) {
    memcpy(frame.payload, payload, size);
  }
  mbmrl_robot_receive(robot, bytes, mbmrl_encode(&frame, bytes), now);
}

static void hello(mbmrl_robot *robot, uint32_t session, uint8_t version) {
  receive(robot, MBMRL_HELLO, 0, session, &version, 1, 0);
}

static void configure(mbmrl_robot *robot, uint16_t number, float rate, float max_speed, float dead_man) {
  uint8_t payload[52] = {0};
  float values[3] = {rate, max_speed, dead_man}; /* the host that runs this is little-endian */
  memcpy(payload, values, sizeof values);
  receive(robot, MBMRL_CONFIGURE, number, robot->session, payload, sizeof payload, 0);
}

static void enable(mbmrl_robot *robot, uint16_t number, uint8_t enabled, uint64_t now) {
  receive(robot, MBMRL_ENABLE, number, robot->session, &enabled, 1, now);
}

static void command(mbmrl_robot *robot, uint16_t number, uint32_t sequence, float left, float right, uint64_t now) {
  uint8_t payload[12];
  memcpy(payload, &sequence, 4);
  memcpy(payload + 4, &left, 4);
  memcpy(payload + 8, &right, 4);
  receive(robot, MBMRL_COMMAND, number, robot->session, payload, sizeof payload, now);
}

static mbmrl_robot walking(void) {
  mbmrl_robot robot = a_robot();
  hello(&robot, SESSION, MBMRL_VERSION);
  configure(&robot, 1, 50, 56, 0.15f);
  enable(&robot, 2, 1, 1000);
  command(&robot, 3, 1, 10, 20, 1000);
  return robot;
}

static bool moves(const mbmrl_robot *robot) { return robot->set_point[0] != 0 || robot->set_point[1] != 0; }

static bool refused(void) {
  const mbmrl_frame *answer = &answers[(answered + 63) % 64];
  return answer->type == MBMRL_ACKNOWLEDGE && answer->payload[1] == 0 && answer->payload[2] > 0;
}

/* Vectors */

static size_t from_hex(const char *text, uint8_t *bytes) {
  size_t size = 0;
  for (unsigned value; sscanf(text + 2 * size, "%2x", &value) == 1; size++) {
    bytes[size] = (uint8_t)value;
  }
  return size;
}

static const char *text_after(const char *values, int words) {
  while (words--) {
    const char *space = strchr(values, ' ');
    values = space ? space + 1 : "";
  }
  return values;
}

static void write_telemetry(mbmrl_frame *frame, const double *v, char *text) {
  mbmrl_measured m;
  float *f = (float[16]){0};
  for (int i = 0; i < 15; i++) {
    f[i] = (float)v[7 + i];
  }
  m.time = strtoull(text_after(text, 1), NULL, 10);
  m.applied[0] = (float)v[3], m.applied[1] = (float)v[4];
  m.phases[0] = strtoll(text_after(text, 5), NULL, 10), m.phases[1] = strtoll(text_after(text, 6), NULL, 10);
  memcpy(m.speeds, f, sizeof m.speeds);
  memcpy(m.gyro, f + 2, sizeof m.gyro);
  memcpy(m.acceleration, f + 5, sizeof m.acceleration);
  memcpy(m.back_emf, f + 8, sizeof m.back_emf);
  m.battery = f[10];
  memcpy(m.current, f + 11, sizeof m.current);
  memcpy(m.temperature, f + 13, sizeof m.temperature);
  m.faults = (uint16_t)v[23];
  mbmrl_write_telemetry(frame, (uint32_t)v[0], (uint32_t)v[2], &m, (int)v[22] & 1, (int)v[22] >> 1);
}

/* A frame of the robot is made of its values, one of the host is read. */
static void try_vector(const char *name, const mbmrl_frame *given, char *values, const char *line) {
  mbmrl_frame made = *given;
  mbmrl_configuration configuration;
  mbmrl_command set_points;
  double v[24] = {0};
  char *at = values;
  for (int i = 0; i < 24 && *at; i++) {
    v[i] = strtod(at, &at);
  }
  memset(made.payload, 0, sizeof made.payload);
  if (!strcmp(name, "Capabilities")) {
    char *id = strstr(values, " id=");
    if (id) {
      *id = 0;
    }
    mbmrl_write_capabilities(&made, (uint8_t)v[1], (uint8_t)v[2], (float)v[3], (float)v[4], (float)v[5],
                             text_after(values, 6), id ? strtoull(id + 4, NULL, 10) : 0);
  } else if (!strcmp(name, "Acknowledge")) {
    mbmrl_write_acknowledge(&made, (uint8_t)v[0], v[1] == 1 ? NULL : text_after(values, 2));
  } else if (!strcmp(name, "Telemetry")) {
    write_telemetry(&made, v, values);
  } else if (!strcmp(name, "Configure")) {
    bool good = mbmrl_read_configuration(given, &configuration);
    good = good && configuration.rate == (float)v[0] && configuration.max_speed == (float)v[1];
    for (int i = 0; i < 10; i++) {
      good = good && configuration.gains[i / 5][i % 5] == (int32_t)v[3 + i];
    }
    check(good && configuration.dead_man == (float)v[2], line);
    return;
  } else if (!strcmp(name, "Command")) {
    check(mbmrl_read_command(given, &set_points) && set_points.sequence == (uint32_t)v[0] &&
              set_points.speed[0] == (float)v[1] && set_points.speed[1] == (float)v[2],
          line);
    return;
  } else {
    uint64_t value = 0;
    for (int i = 0; i < given->size; i++) {
      value |= (uint64_t)given->payload[i] << (8 * i);
    }
    check(value == (uint64_t)v[0], line);
    return;
  }
  check(made.type == given->type && made.size == given->size && !memcmp(made.payload, given->payload, made.size), line);
}

static int try_vectors(const char *path) {
  static char line[4096], hex[1024], name[64];
  FILE *file = fopen(path, "r");
  int lines = 0;
  while (file && fgets(line, sizeof line, file)) {
    uint8_t bytes[512], again[MBMRL_MAX_FRAME + 2];
    unsigned long number, session;
    int end = 0;
    mbmrl_frame frame;
    line[strcspn(line, "\n")] = 0;
    if (sscanf(line, "refused host %1023s", hex) == 1) {
      mbmrl_robot robot = walking();
      uint32_t good = robot.good;
      robot.last_received = 0;
      mbmrl_robot_receive(&robot, bytes, from_hex(hex, bytes), 1000);
      check(robot.good == good && robot.set_point[0] == 10 && robot.session == SESSION, line);
    } else if (sscanf(line, "%63[A-Za-z] %lu %lu %1023s%n", name, &number, &session, hex, &end) == 4) {
      size_t size = from_hex(hex, bytes);
      check(mbmrl_decode(bytes + 1, size - 2, &frame) && frame.number == number && frame.session == session, line);
      check(mbmrl_encode(&frame, again) == size && !memcmp(again, bytes, size), line);
      try_vector(name, &frame, line[end] ? line + end + 1 : line + end, line);
    } else {
      continue;
    }
    lines++;
  }
  if (file) {
    fclose(file);
  }
  return lines;
}

/* The state machine */

static void try_robot(void) {
  mbmrl_robot robot = a_robot();
  const mbmrl_measured measured = {0};
  uint8_t stop[MBMRL_MAX_FRAME + 2];

  command(&robot, 1, 1, 10, 20, 0);
  enable(&robot, 2, 1, 0);
  check(!robot.enabled && !moves(&robot) && answered == 0, "nothing counts before a hand-shake");

  hello(&robot, SESSION, MBMRL_VERSION);
  check(answers[0].type == MBMRL_CAPABILITIES && answers[0].session == SESSION, "Hello is answered");
  check(answers[0].size == 15 + 7 + 8 && answers[0].payload[22] == 7, "a robot with a device id tells it");
  enable(&robot, 1, 1, 0);
  check(refused() && !robot.enabled, "Enable before Configure is refused");
  configure(&robot, 2, 101, 56, 0.15f);
  check(refused(), "a rate beyond the limit is refused");
  configure(&robot, 3, 50, 61, 0.15f);
  check(refused(), "a speed beyond the limit is refused");
  configure(&robot, 4, 50, 56, 0.21f);
  check(refused(), "a dead-man beyond the limit is refused");
  configure(&robot, 5, 0, 56, 0.1f);
  check(refused() && !robot.configured, "no rate is refused");

  robot = walking();
  check(robot.set_point[0] == 10 && robot.set_point[1] == 20 && !refused(), "it walks");
  command(&robot, 4, 2, 1000, -1000, 1000);
  check(robot.set_point[0] == 56 && robot.set_point[1] == -56, "commands are clipped");
  command(&robot, 5, 2, 5, 5, 1000);
  check(robot.set_point[0] == 56, "a command of an old sequence is ignored");
  command(&robot, 5, 3, 5, 5, 1000);
  check(robot.set_point[0] == 56 && robot.stale == 1, "a repeated frame is ignored");

  robot = walking();
  mbmrl_robot_poll(&robot, 1000 + 149000);
  check(moves(&robot), "the dead-man waits");
  mbmrl_robot_poll(&robot, 1000 + 151000);
  check(!moves(&robot) && robot.enabled, "the dead-man stops");
  mbmrl_robot_tell(&robot, &measured);
  check(answers[(answered - 1) % 64].payload[101] & MBMRL_DEAD_MAN, "the dead-man is told");
  mbmrl_robot_tell(&robot, &measured);
  check(!(answers[(answered - 1) % 64].payload[101] & MBMRL_DEAD_MAN), "it is told once");
  command(&robot, 4, 1, 10, 20, 200000);
  check(!moves(&robot), "the old command is not resumed");
  command(&robot, 5, 2, 10, 20, 200000);
  check(moves(&robot), "a new command is");

  receive(&robot, MBMRL_EMERGENCY_STOP, 0, 7, NULL, 0, 200000);
  check(!moves(&robot) && !robot.enabled && robot.emergency_stop, "a stop counts in any session");
  command(&robot, 6, 3, 10, 20, 200000);
  enable(&robot, 7, 1, 200000);
  check(refused() && !moves(&robot), "a stop is latched");
  hello(&robot, SESSION + 1, MBMRL_VERSION);
  check(robot.emergency_stop && !robot.enabled && !robot.configured, "a new session is not enabled");
  configure(&robot, 1, 50, 56, 0.15f);
  enable(&robot, 2, 1, 200000);
  check(robot.enabled && !robot.emergency_stop && !moves(&robot), "Enable in a new session releases the stop, at rest");

  robot = walking();
  hello(&robot, SESSION + 1, MBMRL_VERSION);
  check(!moves(&robot) && !robot.enabled, "Hello stops");
  command(&robot, 4, 2, 10, 20, 1000);
  check(!moves(&robot), "not enabled, no command");

  robot = walking();
  hello(&robot, SESSION + 1, MBMRL_VERSION + 1);
  check(answers[(answered - 1) % 64].session == SESSION + 1 && robot.session == 0, "another version gets an answer only");

  robot = walking();
  check(mbmrl_robot_poll(&robot, 1000) && !mbmrl_robot_poll(&robot, 15000) && mbmrl_robot_poll(&robot, 20000),
        "telemetry is due each 20 ms");
  check(mbmrl_robot_poll(&robot, 900000) && !mbmrl_robot_poll(&robot, 901000), "what is late is not made up for");

  robot = walking();
  memset(stop, 1, sizeof stop);
  for (int i = 0; i < 5; i++) {
    mbmrl_robot_receive(&robot, stop, sizeof stop, 1000);
  }
  command(&robot, 4, 2, 30, 30, 1000);
  check(robot.set_point[0] == 30 && robot.skipped == 5 * sizeof stop, "noise without delimiters is skipped");
}

/* Fuzzing */

static uint64_t state;

static uint32_t draw(void) { /* splitmix64 */
  uint64_t z = (state += 0x9E3779B97F4A7C15);
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
  z = (z ^ z >> 27) * 0x94D049BB133111EB;
  return (uint32_t)(z >> 32);
}

/* Each input is a command with, where damaged, 1 % of its bytes changed (one at least), followed by a sound one, or
 * 1 to 150 random bytes and then a sound one: the sound one must be taken, the damaged one never. */
static int fuzz(unsigned long inputs, unsigned long seed) {
  mbmrl_robot robot = walking();
  uint16_t number = 4;
  uint32_t sequence = 2;
  unsigned long wrong = 0, missed = 0, bytes_sent = 0;
  state = seed;
  for (unsigned long i = 0; i < inputs; i++) {
    uint8_t bytes[160];
    size_t size;
    uint32_t good;
    if (draw() % 2) {
      mbmrl_frame frame = {MBMRL_COMMAND, number++, SESSION, 12, {0}};
      for (int j = 0; j < 12; j++) {
        frame.payload[j] = (uint8_t)draw();
      }
      size = mbmrl_encode(&frame, bytes);
      size_t hit = draw() % (size - 2) + 1; /* what damages the outer delimiters only may leave the frame as it is */
      bytes[hit] ^= (uint8_t)(draw() % 255 + 1);
      for (size_t j = 0; j < size; j++) {
        if (draw() % 100 == 0) {
          bytes[j] = j == hit ? bytes[j] : (uint8_t)draw();
        }
      }
    } else {
      size = draw() % 150 + 1;
      for (size_t j = 0; j < size; j++) {
        bytes[j] = (uint8_t)draw();
      }
    }
    good = robot.good;
    mbmrl_robot_receive(&robot, bytes, size, 1000);
    wrong += robot.good - good;
    good = robot.good;
    command(&robot, number++, sequence++, 1, 2, 1000);
    missed += robot.good != good + 1;
    bytes_sent += size;
  }
  printf("inputs %lu, bytes %lu, wrong frames accepted %lu, next frame missed %lu\n", inputs, bytes_sent, wrong, missed);
  return wrong || missed || !robot.enabled;
}

int main(int argc, char **argv) {
  if (argc == 4 && !strcmp(argv[1], "fuzz")) {
    return fuzz(strtoul(argv[2], NULL, 10), strtoul(argv[3], NULL, 10));
  }
  int lines = argc == 2 ? try_vectors(argv[1]) : 0;
  try_robot();
  printf("%d vectors, %d checks, %d failed\n", lines, checks, failures);
  return failures || lines == 0;
}
