/* Checks that name what they looked at. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "halo.h"

static int checks_failed;

#define CHECK(fact) \
  do { \
    if (!(fact)) { \
      fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #fact); \
      checks_failed = 1; \
    } \
  } while (0)

/* A call that must fail with this code, an argument at fault and words in its message; its record is in `err`. */
#define REFUSED(call, expected, words) \
  do { \
    halo_status refused_; \
    memset(&err, 0, sizeof err); \
    err.struct_size = (uint32_t)sizeof err; \
    refused_ = (call); \
    if (refused_ != (expected) || strstr(err.message, words) == NULL) { \
      fprintf(stderr, "%s:%d: %s answered %s: %s\n", __FILE__, __LINE__, #call, halo_status_name(refused_), err.message); \
      checks_failed = 1; \
    } \
  } while (0)

/* A call that must go well. */
#define DONE(call) \
  do { \
    HALO_INIT(err); \
    if ((call) != HALO_OK) { \
      fprintf(stderr, "%s:%d: %s: %s: %s\n", __FILE__, __LINE__, #call, err.site, err.message); \
      exit(1); \
    } \
  } while (0)

#endif
