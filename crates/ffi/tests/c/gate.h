/* What the gates' programs share: calls that must be refused, and the proof that a refusal changed nothing. */
#ifndef GATE_H
#define GATE_H

#include <stdio.h>
#include <stdlib.h>

#include "halo.h"

/* A call of one function with its arguments in a struct. */
typedef halo_status (*gate_call)(void *args, halo_error *err);

/* Valid arguments for calls: handles, and the host's memory in one piece, so that one comparison finds any write into it. */
typedef struct {
  halo_loss *loss;
  halo_refpoint *point;
  halo_blob *blob, *saved;
  halo_cancel *cancel;
  halo_dataset *data;
  halo_trainer *trainer, *fresh;
  const char *saved_data;
  size_t saved_len;
  struct {
    halo_batch batch;
    halo_loss_result result;
    halo_refpoint_value value;
    halo_record record;
    halo_work work;
    halo_answer answer;
    halo_head head;
    halo_head_stats stats;
    halo_head_grads grads;
    halo_exec exec;
    DLTensor hidden, weight, targets, lse, d_logp, d_hidden;
    int64_t shapes[3][2];
    int64_t target[4];
    float states[4][3], words[5][3], per_row[2][4], d_states[4][3];
    double logp[8], ref_logp[8], token_logp[16], ones[16];
    int64_t offsets[9];
    uint64_t group[8];
    int32_t tokens[8];
    uint8_t mask[16];
    int8_t label[8];
    uint8_t role[8];
    double numbers[64];
    union {
      double align;
      unsigned char bytes[1024];
    } out;
  } host;
} fixture;

extern fixture fx;
void fixture_open(void);
void fixture_close(void);

/* Ends the program with a line that says what is wrong. */
#define FAIL(...) gate_fail(__FILE__, __LINE__, __VA_ARGS__)
#define CHECK(it) ((it) ? (void)0 : FAIL("%s", #it))
void gate_fail(const char *file, int line, const char *format, ...);

/* Sets of statuses; 98 and 99 fall on free places. */
#define ONE(status) (1ull << ((status) & 63))
#define BAD_ARGUMENT ONE(HALO_E_INVALID_ARGUMENT)
#define BAD_LAYOUT ONE(HALO_E_LAYOUT)
#define BAD_ABI ONE(HALO_E_ABI)
#define BAD_TAIL ONE(HALO_E_UNSUPPORTED)
#define BAD_TEXT ONE(HALO_E_FORMAT)
#define BAD_LENGTH (ONE(HALO_E_SHAPE) | ONE(HALO_E_INVALID_ARGUMENT))
#define BAD_PLACE (ONE(HALO_E_LAYOUT) | ONE(HALO_E_INVALID_ARGUMENT) | ONE(HALO_E_SHAPE))
#define BAD_CONSTANT (ONE(HALO_E_DTYPE) | ONE(HALO_E_UNSUPPORTED) | ONE(HALO_E_INVALID_ARGUMENT))
#define BAD_TENSOR (BAD_PLACE | BAD_CONSTANT | ONE(HALO_E_DEVICE))

/* No argument in particular. */
#define ANY (-2)

/* The next calls are of this function. `valid`: whether its arguments are known to be good, so that a refusal must name the one
 * that was spoiled; without that, any refusal will do. */
void gate_function(const char *name, int valid);

/* Whether a call with the samples does what it says. It must where all arguments have samples (demand 1), but for what only
 * another build has (demand 2), and need not where some have none (demand 0). */
int works(gate_call call, void *args, int demand);

/* The call must do what it says, and leave err alone. */
void accept(const char *what, gate_call call, void *args);

/* The call must answer one of the statuses and name the argument; neither the arguments nor the host's memory may change. */
void refuse(const char *what, gate_call call, void *args, size_t size, int argument, unsigned long long statuses);

/* A host with an older, shorter struct: whatever the answer, nothing behind its struct_size is written. */
void shorter(const char *what, gate_call call, void *args, void *record, size_t known, size_t whole);

/* While this handle is in use the call is refused: from the same thread, and from another one. */
void refuse_held(void *handle, gate_call call, void *args, size_t size, int argument);

/* A defect while the handle is held: PANIC. */
void poison(void *handle);

/* The experimental functions of a build for tests; 0 where it has none. */
int hooks(void);

/* Numbers of what was tried. */
void gate_report(void);

/* Under the shim: calls from here on are counted against the library, or no longer. */
void gate_watch(int on);

/* What stands in the host's memory before a call that must not write. */
#define CANARY 0xA5

/* Holds a handle exclusively while it calls `inside`, and panics without one. */
typedef halo_status (*hold_fn)(void *handle, void (*inside)(void *), void *user, halo_error *err);
hold_fn gate_hold(void);

#endif
