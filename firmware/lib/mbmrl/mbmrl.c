#include "mbmrl.h"

#include <math.h>
#include <string.h>

#define HEADER 7
#define CHECK 4

typedef char float_is_binary32[sizeof(float) == 4 ? 1 : -1];

/* Bytes, little-endian */

static uint8_t *put(uint8_t *at, uint64_t value, int size) {
  for (int i = 0; i < size; i++) {
    *at++ = (uint8_t)(value >> (8 * i));
  }
  return at;
}

static uint8_t *put_floats(uint8_t *at, const float *values, int count) {
  for (int i = 0; i < count; i++) {
    uint32_t bits;
    memcpy(&bits, &values[i], sizeof bits);
    at = put(at, bits, 4);
  }
  return at;
}

static uint8_t *put_text(uint8_t *at, const char *text) {
  uint8_t *size = at++;
  for (*size = 0; *size < MBMRL_MAX_TEXT && text[*size]; ++*size) {
    char c = text[*size];
    *at++ = (uint8_t)(c >= ' ' && c <= '~' ? c : '?');
  }
  return at;
}

static uint32_t get(const uint8_t *at, int size) {
  uint32_t value = 0;
  for (int i = 0; i < size; i++) {
    value |= (uint32_t)at[i] << (8 * i);
  }
  return value;
}

static bool get_floats(const uint8_t *at, float *values, int count) {
  bool finite = true;
  for (int i = 0; i < count; i++) {
    uint32_t bits = get(at + 4 * i, 4);
    memcpy(&values[i], &bits, sizeof bits);
    finite = finite && isfinite(values[i]);
  }
  return finite;
}

/* CRC-32 of IEEE 802.3, four bits at a time */
static uint32_t crc32(const uint8_t *bytes, size_t size) {
  static const uint32_t table[16] = {
      0x00000000, 0x1DB71064, 0x3B6E20C8, 0x26D930AC, 0x76DC4190, 0x6B6B51F4, 0x4DB26158, 0x5005713C,
      0xEDB88320, 0xF00F9344, 0xD6D6A3E8, 0xCB61B38C, 0x9B64C2B0, 0x86D3D2D4, 0xA00AE278, 0xBDBDF21C};
  uint32_t crc = 0xFFFFFFFF;
  while (size--) {
    crc ^= *bytes++;
    crc = crc >> 4 ^ table[crc & 15];
    crc = crc >> 4 ^ table[crc & 15];
  }
  return ~crc;
}

/* Frames */

size_t mbmrl_encode(const mbmrl_frame *frame, uint8_t *bytes) {
  uint8_t data[HEADER + MBMRL_MAX_PAYLOAD + CHECK], *end = data;
  end = put(end, frame->type, 1);
  end = put(end, frame->number, 2);
  end = put(end, frame->session, 4);
  memcpy(end, frame->payload, frame->size);
  end += frame->size;
  end = put(end, crc32(data, (size_t)(end - data)), CHECK);

  /* All is shorter than 254 bytes, so each code byte tells of a zero, and the last one of the end. */
  uint8_t *code = bytes + 1, *at = bytes + 2;
  bytes[0] = 0;
  *code = 1;
  for (const uint8_t *byte = data; byte < end; byte++) {
    if (*byte) {
      *at++ = *byte;
      ++*code;
    } else {
      code = at++;
      *code = 1;
    }
  }
  *at++ = 0;
  return (size_t)(at - bytes);
}

bool mbmrl_decode(const uint8_t *bytes, size_t size, mbmrl_frame *frame) {
  uint8_t data[MBMRL_MAX_FRAME];
  size_t length = 0;
  if (size > MBMRL_MAX_FRAME) {
    return false;
  }
  for (size_t at = 0; at < size;) {
    size_t code = bytes[at];
    if (code == 0 || at + code > size) {
      return false;
    }
    for (size_t i = 1; i < code; i++) {
      if (bytes[at + i] == 0) {
        return false;
      }
      data[length++] = bytes[at + i];
    }
    at += code;
    if (at < size) {
      data[length++] = 0;
    }
  }
  if (length < HEADER + CHECK || get(data + length - CHECK, CHECK) != crc32(data, length - CHECK)) {
    return false;
  }
  frame->type = data[0];
  frame->number = (uint16_t)get(data + 1, 2);
  frame->session = get(data + 3, 4);
  frame->size = (uint8_t)(length - HEADER - CHECK);
  memcpy(frame->payload, data + HEADER, frame->size);
  return true;
}

bool mbmrl_read_configuration(const mbmrl_frame *frame, mbmrl_configuration *configuration) {
  float values[3];
  if (frame->size != 52 || !get_floats(frame->payload, values, 3)) {
    return false;
  }
  configuration->rate = values[0];
  configuration->max_speed = values[1];
  configuration->dead_man = values[2];
  for (int i = 0; i < 10; i++) {
    configuration->gains[i / 5][i % 5] = (int32_t)get(frame->payload + 12 + 4 * i, 4);
  }
  return true;
}

bool mbmrl_read_command(const mbmrl_frame *frame, mbmrl_command *command) {
  if (frame->size != 12 || !get_floats(frame->payload + 4, command->speed, 2)) {
    return false;
  }
  command->sequence = get(frame->payload, 4);
  return true;
}

static void finish(mbmrl_frame *frame, uint8_t type, const uint8_t *end) {
  frame->type = type;
  frame->size = (uint8_t)(end - frame->payload);
}

void mbmrl_write_capabilities(mbmrl_frame *frame, uint8_t motors, uint8_t legs, float rate, float dead_man,
                              float max_speed, const char *firmware, uint64_t device_id) {
  const float values[3] = {rate, dead_man, max_speed};
  uint8_t *at = put(frame->payload, MBMRL_VERSION, 1);
  at = put(at, motors, 1);
  at = put(at, legs, 1);
  at = put_floats(at, values, 3);
  at = put_text(at, firmware);
  finish(frame, MBMRL_CAPABILITIES, device_id ? put(at, device_id, 8) : at);
}

void mbmrl_write_acknowledge(mbmrl_frame *frame, uint8_t request, const char *refusal) {
  uint8_t *at = put(frame->payload, request, 1);
  at = put(at, refusal == NULL, 1);
  finish(frame, MBMRL_ACKNOWLEDGE, put_text(at, refusal ? refusal : ""));
}

void mbmrl_write_telemetry(mbmrl_frame *frame, uint32_t sequence, uint32_t command_sequence,
                           const mbmrl_measured *measured, bool enabled, bool emergency_stop) {
  const mbmrl_measured *m = measured;
  uint8_t *at = put(frame->payload, sequence, 4);
  at = put(at, m->time, 8);
  at = put(at, command_sequence, 4);
  at = put_floats(at, m->applied, 2);
  at = put(at, (uint64_t)m->phases[0], 8);
  at = put(at, (uint64_t)m->phases[1], 8);
  at = put_floats(at, m->speeds, 2);
  at = put_floats(at, m->gyro, 3);
  at = put_floats(at, m->acceleration, 3);
  at = put_floats(at, m->back_emf, 2);
  at = put_floats(at, &m->battery, 1);
  at = put_floats(at, m->current, 2);
  at = put_floats(at, m->temperature, 2);
  at = put(at, (uint64_t)(enabled | emergency_stop << 1), 1);
  finish(frame, MBMRL_TELEMETRY, put(at, m->faults, 2));
}

/* The robot */

static void stop(mbmrl_robot *robot) { robot->set_point[0] = robot->set_point[1] = 0; }

void mbmrl_robot_init(mbmrl_robot *robot, const mbmrl_options *options) {
  memset(robot, 0, sizeof *robot);
  robot->options = *options;
}

static void send(mbmrl_robot *robot, mbmrl_frame *frame) {
  uint8_t bytes[MBMRL_MAX_FRAME + 2];
  frame->number = robot->next_sent++;
  frame->session = robot->session;
  robot->options.write(robot->options.context, bytes, mbmrl_encode(frame, bytes));
}

static void begin(mbmrl_robot *robot, const mbmrl_frame *hello) {
  const mbmrl_options *o = &robot->options;
  mbmrl_frame answer;
  robot->session = hello->session;
  robot->next_sent = robot->last_received = 0;
  robot->configured = robot->enabled = robot->dead_man_fault = false;
  robot->session_since_stop = true;
  robot->command_sequence = robot->telemetry_sequence = 0;
  stop(robot);
  mbmrl_write_capabilities(&answer, o->motors, o->legs, o->rate, o->dead_man, o->max_speed, o->firmware, o->device_id);
  send(robot, &answer);
  if (hello->payload[0] != MBMRL_VERSION) {
    robot->session = 0;
  }
}

static const char *configure(mbmrl_robot *robot, const mbmrl_configuration *wanted, uint64_t now) {
  const mbmrl_options *o = &robot->options;
  const char *refusal = NULL;
  if (!(wanted->rate > 0 && wanted->rate <= o->rate)) {
    return "the rate of telemetry is beyond the limit";
  }
  if (!(wanted->dead_man > 0 && wanted->dead_man <= o->dead_man)) {
    return "the time of the dead-man is beyond the limit";
  }
  if (!(wanted->max_speed > 0 && wanted->max_speed <= o->max_speed)) {
    return "the leg speed is beyond the limit";
  }
  if (o->configure) {
    refusal = o->configure(o->context, wanted);
  }
  if (!refusal) {
    robot->configuration = *wanted;
    robot->configured = true;
    robot->next_telemetry = now;
  }
  return refusal;
}

static const char *enable(mbmrl_robot *robot, bool enabled, uint64_t now) {
  if (enabled && !robot->configured) {
    return "it is not configured";
  }
  if (enabled && robot->emergency_stop && !robot->session_since_stop) {
    return "the emergency stop is latched until a new session";
  }
  stop(robot);
  robot->enabled = enabled;
  robot->emergency_stop = robot->emergency_stop && !enabled;
  robot->last_command = now;
  return NULL;
}

static void command(mbmrl_robot *robot, const mbmrl_command *command, uint64_t now) {
  const float limit = robot->configuration.max_speed;
  if (!robot->enabled || command->sequence <= robot->command_sequence) {
    return;
  }
  for (int i = 0; i < 2; i++) {
    robot->set_point[i] = fminf(fmaxf(command->speed[i], -limit), limit);
  }
  robot->command_sequence = command->sequence;
  robot->last_command = now;
}

/* Whether a frame belongs to this session and is newer than the last one; a stop always counts. */
static bool is_current(mbmrl_robot *robot, const mbmrl_frame *frame) {
  uint16_t ahead = (uint16_t)(frame->number - robot->last_received);
  if (frame->session == 0 || frame->session != robot->session || ahead == 0 || ahead >= 0x8000) {
    return frame->type == MBMRL_EMERGENCY_STOP;
  }
  robot->lost += ahead - 1u;
  robot->last_received = frame->number;
  return true;
}

static void obey(mbmrl_robot *robot, const mbmrl_frame *frame, uint64_t now) {
  const char *refusal = NULL;
  mbmrl_configuration wanted;
  mbmrl_command set_points;
  mbmrl_frame answer;
  bool known = false;
  switch (frame->type) {
    case MBMRL_HELLO:
      known = frame->size > 0 && (frame->size == 1 || frame->payload[0] != MBMRL_VERSION);
      break;
    case MBMRL_CONFIGURE:
      known = mbmrl_read_configuration(frame, &wanted);
      break;
    case MBMRL_ENABLE:
      known = frame->size == 1 && frame->payload[0] <= 1;
      break;
    case MBMRL_EMERGENCY_STOP:
      known = frame->size == 0;
      break;
    case MBMRL_COMMAND:
      known = mbmrl_read_command(frame, &set_points);
      break;
    case MBMRL_PING:
      known = frame->size == 4;
      break;
  }
  if (!known) {
    robot->bad++;
    return;
  }
  if (frame->type == MBMRL_HELLO ? frame->session == 0 : !is_current(robot, frame)) {
    robot->stale++;
    return;
  }
  robot->good++;
  switch (frame->type) {
    case MBMRL_HELLO:
      begin(robot, frame);
      return;
    case MBMRL_COMMAND:
      command(robot, &set_points, now);
      return;
    case MBMRL_PING:
      answer = *frame;
      answer.type = MBMRL_PONG;
      send(robot, &answer);
      return;
    case MBMRL_CONFIGURE:
      refusal = configure(robot, &wanted, now);
      break;
    case MBMRL_ENABLE:
      refusal = enable(robot, frame->payload[0], now);
      break;
    case MBMRL_EMERGENCY_STOP:
      stop(robot);
      robot->enabled = robot->session_since_stop = false;
      robot->emergency_stop = true;
      break;
  }
  mbmrl_write_acknowledge(&answer, frame->type, refusal);
  send(robot, &answer);
}

void mbmrl_robot_receive(mbmrl_robot *robot, const uint8_t *bytes, size_t size, uint64_t now) {
  mbmrl_frame frame;
  for (; size--; bytes++) {
    if (*bytes) {
      if (robot->filled == MBMRL_MAX_FRAME) {
        robot->skipped += MBMRL_MAX_FRAME;
        robot->filled = 0;
        robot->too_long = true;
      }
      if (robot->too_long) {
        robot->skipped++;
      } else {
        robot->buffer[robot->filled++] = *bytes;
      }
      continue;
    }
    if (robot->filled) {
      if (mbmrl_decode(robot->buffer, robot->filled, &frame)) {
        obey(robot, &frame, now);
      } else {
        robot->bad++;
      }
    }
    robot->filled = 0;
    robot->too_long = false;
  }
}

bool mbmrl_robot_poll(mbmrl_robot *robot, uint64_t now) {
  const mbmrl_configuration *c = &robot->configuration;
  bool moves = robot->set_point[0] != 0 || robot->set_point[1] != 0;
  if (moves && now - robot->last_command >= (uint64_t)(c->dead_man * 1e6f)) {
    stop(robot);
    robot->dead_man_fault = true;
  }
  if (!robot->configured || now < robot->next_telemetry) {
    return false;
  }
  robot->next_telemetry += (uint64_t)(1e6f / c->rate);
  if (robot->next_telemetry <= now) { /* what is late is not made up for */
    robot->next_telemetry = now + (uint64_t)(1e6f / c->rate);
  }
  return true;
}

void mbmrl_robot_tell(mbmrl_robot *robot, const mbmrl_measured *measured) {
  mbmrl_measured with_faults = *measured;
  mbmrl_frame frame;
  if (robot->dead_man_fault) {
    with_faults.faults |= MBMRL_DEAD_MAN;
    robot->dead_man_fault = false;
  }
  mbmrl_write_telemetry(&frame, ++robot->telemetry_sequence, robot->command_sequence, &with_faults, robot->enabled,
                        robot->emergency_stop);
  send(robot, &frame);
}
