/* What a call costs: KTO on one row, and on a million rows beside a plain C loop over the same numbers, in one run.
 *
 * The loop is what a host would write without the library: value and gradient, nothing checked, nothing reported. */
#define _POSIX_C_SOURCE 199309L
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "halo.h"

#define ROWS ((size_t)1000000)
#define ROUNDS 15

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static double plain(const double *logp, const double *ref_logp, const int8_t *label, double *gradient, size_t rows) {
  const double beta = 0.1, z0 = 0.25;
  double sum = 0.0;
  size_t i;
  for (i = 0; i < rows; i++) {
    double s = label[i] > 0 ? 1.0 : -1.0;
    double v = 1.0 / (1.0 + exp(-s * beta * (logp[i] - ref_logp[i] - z0)));
    sum += 1.0 - v;
    gradient[i] = -s * beta * v * (1.0 - v) / (double)rows;
  }
  return sum / (double)rows;
}

static int smaller(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median(double *times) {
  qsort(times, ROUNDS, sizeof *times, smaller);
  return times[ROUNDS / 2];
}

int main(void) {
  double *logp = malloc(ROWS * sizeof *logp), *ref_logp = malloc(ROWS * sizeof *ref_logp);
  double *gradient = malloc(ROWS * sizeof *gradient), *own = malloc(ROWS * sizeof *own);
  int8_t *label = malloc(ROWS);
  double one[ROUNDS], many[ROUNDS], loop[ROUNDS], expected = 0.0, worst = 0.0;
  halo_loss *loss = NULL;
  halo_batch batch;
  halo_loss_result result;
  halo_error err;
  size_t i;
  int round;

  if (!logp || !ref_logp || !gradient || !own || !label) return 1;
  for (i = 0; i < ROWS; i++) {
    ref_logp[i] = -50.0 - (double)(i * 7919 % 1000) / 10.0;
    logp[i] = ref_logp[i] + (double)(i * 104729 % 2000) / 50.0 - 20.0;
    label[i] = i % 3 ? 1 : -1;
  }
  HALO_INIT(err);
  HALO_INIT(batch);
  HALO_INIT(result);
  if (halo_loss_new("kto", NULL, &loss, &err) != HALO_OK) goto failed;
  batch.dtype = HALO_F64;
  batch.label = label;
  batch.logp = logp;
  batch.ref_logp = ref_logp;
  batch.common_refpoint = 0.25;
  result.d_logp = own;
  for (round = 0; round < ROUNDS; round++) {
    double begin = seconds();
    batch.rows = 1;
    for (i = 0; i < 100000; i++)
      if (halo_loss_evaluate(loss, &batch, &result, &err) != HALO_OK) goto failed;
    one[round] = (seconds() - begin) / 100000;
    begin = seconds();
    expected = plain(logp, ref_logp, label, gradient, ROWS);
    loop[round] = seconds() - begin;
    batch.rows = ROWS;
    begin = seconds();
    if (halo_loss_evaluate(loss, &batch, &result, &err) != HALO_OK) goto failed;
    many[round] = seconds() - begin;
  }
  for (i = 0; i < ROWS; i++) worst = fmax(worst, fabs(own[i] - gradient[i]));
  if (fabs(result.loss - expected) > 1e-12 || worst > 1e-18) {
    fprintf(stderr, "halo and the loop disagree: %.17g, %.17g, gradients by %g\n", result.loss, expected, worst);
    return 1;
  }
  printf("{\"one_row_ns\": %.0f, \"million_rows_ns_per_row\": %.2f, \"plain_loop_ns_per_row\": %.2f, \"ratio\": %.2f}\n",
         1e9 * median(one), 1e3 * median(many), 1e3 * median(loop), median(many) / median(loop));
  halo_loss_free(loss);
  return 0;
failed:
  fprintf(stderr, "%s\n", err.message);
  return 1;
}
