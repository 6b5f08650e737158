/* The robot's side of the protocol mbmrl, version 1; docs/protocol.md describes it.
 *
 * C99, no allocation, no global state, no interrupts: the owner hands over bytes and the time, and gets bytes to
 * send and leg speeds to set. Times are in us of a clock that never goes back; units are SI.
 *
 *   mbmrl_robot_init(&robot, &options);
 *   for (;;) {
 *     mbmrl_robot_receive(&robot, bytes, count, now_us);
 *     if (mbmrl_robot_poll(&robot, now_us)) {
 *       mbmrl_robot_tell(&robot, &measured);
 *     }
 *     set_motors(robot.enabled, robot.set_point);
 *   }
 */
#ifndef MBMRL_H
#define MBMRL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MBMRL_VERSION 1
#define MBMRL_MAX_FRAME 140   /* bytes between two delimiters */
#define MBMRL_MAX_PAYLOAD 128 /* bytes */
#define MBMRL_MAX_TEXT 96     /* characters */
#define MBMRL_COUNTS_PER_TURN 65536

enum mbmrl_type {
  MBMRL_HELLO = 0x01,
  MBMRL_CONFIGURE = 0x02,
  MBMRL_ENABLE = 0x03,
  MBMRL_EMERGENCY_STOP = 0x04,
  MBMRL_COMMAND = 0x05,
  MBMRL_PING = 0x06,
  MBMRL_CAPABILITIES = 0x81,
  MBMRL_ACKNOWLEDGE = 0x82,
  MBMRL_PONG = 0x83,
  MBMRL_TELEMETRY = 0x84
};

enum mbmrl_fault {
  MBMRL_DEAD_MAN = 1 << 0,
  MBMRL_LOW_BATTERY = 1 << 1,
  MBMRL_OVER_CURRENT = 1 << 2,
  MBMRL_OVER_TEMPERATURE = 1 << 3,
  MBMRL_ENCODER = 1 << 4,
  MBMRL_IMU = 1 << 5,
  MBMRL_MOTOR_DRIVER = 1 << 6,
  MBMRL_STALL = 1 << 7 /* bits 8 to 15 are the firmware's own */
};

/* Frames */

typedef struct {
  uint8_t type;
  uint16_t number;
  uint32_t session;
  uint8_t size; /* of the payload */
  uint8_t payload[MBMRL_MAX_PAYLOAD];
} mbmrl_frame;

/* Bytes of a frame, delimiters included; returns how many, at most MBMRL_MAX_FRAME + 2. */
size_t mbmrl_encode(const mbmrl_frame *frame, uint8_t *bytes);

/* The frame of what stood between two delimiters; false where it is none. */
bool mbmrl_decode(const uint8_t *bytes, size_t size, mbmrl_frame *frame);

/* Payloads: false where a payload of the host is not one of that type. */

typedef struct {
  float rate;         /* of telemetry, Hz */
  float max_speed;    /* of the legs, rad/s */
  float dead_man;     /* s */
  int32_t gains[2][5]; /* left and right: Kp, Ki, Kd, anti-windup, feed-forward */
} mbmrl_configuration;

typedef struct {
  uint32_t sequence;
  float speed[2]; /* left and right, rad/s */
} mbmrl_command;

bool mbmrl_read_configuration(const mbmrl_frame *frame, mbmrl_configuration *configuration);
bool mbmrl_read_command(const mbmrl_frame *frame, mbmrl_command *command);

/* What is not measured is NAN. */
typedef struct {
  uint64_t time;     /* us */
  float applied[2];  /* leg speeds that were set, rad/s */
  int64_t phases[2]; /* counts of 1/65536 of a leg cycle; they grow without end */
  float speeds[2];   /* rad/s */
  float gyro[3];     /* rad/s */
  float acceleration[3]; /* m/s^2 */
  float back_emf[2]; /* V */
  float battery;     /* V */
  float current[2];  /* A */
  float temperature[2]; /* degrees Celsius */
  uint16_t faults;   /* bits of mbmrl_fault */
} mbmrl_measured;

void mbmrl_write_capabilities(mbmrl_frame *frame, uint8_t motors, uint8_t legs, float rate, float dead_man,
                              float max_speed, const char *firmware, uint64_t device_id); /* 0: none is told */
void mbmrl_write_acknowledge(mbmrl_frame *frame, uint8_t request, const char *refusal); /* NULL: accepted */
void mbmrl_write_telemetry(mbmrl_frame *frame, uint32_t sequence, uint32_t command_sequence,
                           const mbmrl_measured *measured, bool enabled, bool emergency_stop);

/* The robot */

typedef struct {
  const char *firmware; /* name and version, printable ASCII */
  uint8_t motors, legs;
  float rate;      /* highest rate of telemetry, Hz */
  float dead_man;  /* longest time without a command, s; at most 0.2 */
  float max_speed; /* of the legs, rad/s */
  void *context;   /* for the functions below */
  void (*write)(void *context, const uint8_t *bytes, size_t size);
  const char *(*configure)(void *context, const mbmrl_configuration *wanted); /* why it is refused, or NULL; may be 0 */
  uint64_t device_id; /* tells this robot from all others, by which the host knows it again; 0: none is told */
} mbmrl_options;

typedef struct {
  /* To be read. */
  bool configured, enabled, emergency_stop;
  float set_point[2]; /* leg speeds in force, left and right, rad/s; 0 where not enabled */
  uint32_t command_sequence;
  mbmrl_configuration configuration;
  uint32_t good, bad, skipped, stale, lost; /* frames, but skipped: bytes */

  /* Its own. */
  mbmrl_options options;
  uint8_t buffer[MBMRL_MAX_FRAME];
  size_t filled;
  bool too_long, session_since_stop, dead_man_fault;
  uint16_t next_sent, last_received;
  uint32_t session, telemetry_sequence;
  uint64_t last_command, next_telemetry;
} mbmrl_robot;

/* Motors off, no session. */
void mbmrl_robot_init(mbmrl_robot *robot, const mbmrl_options *options);

/* Take bytes, however they are cut, and answer. */
void mbmrl_robot_receive(mbmrl_robot *robot, const uint8_t *bytes, size_t size, uint64_t now);

/* Mind the dead-man, at least each ms; true where telemetry is due. */
bool mbmrl_robot_poll(mbmrl_robot *robot, uint64_t now);

/* Send telemetry. */
void mbmrl_robot_tell(mbmrl_robot *robot, const mbmrl_measured *measured);

#ifdef __cplusplus
}
#endif

#endif
