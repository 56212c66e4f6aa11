/* Several ranks for the example beside it: processes of MPI, or without it this process and a child, joined by a socket. */
#ifndef RANKS_H
#define RANKS_H

#include <stddef.h>

#ifdef WITH_MPI

#include <mpi.h>

/* From here on there are several of us; gives this one's number. */
static int ranks_split(int ranks) {
  int rank, size;
  if (MPI_Init(NULL, NULL) != MPI_SUCCESS) return -1;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  return size == ranks ? rank : -1;
}

/* In place, element by element; the same bits on every rank. 0 = success. */
static int ranks_sum(double *values, size_t count) {
  return MPI_Allreduce(MPI_IN_PLACE, values, (int)count, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
}

/* The worst of what they came to. */
static int ranks_end(int status) {
  int worst = status;
  MPI_Allreduce(&status, &worst, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
  MPI_Finalize();
  return worst;
}

#else

#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static int ranks_line = -1; /* to the other one */
static int ranks_number = 0;

static int ranks_split(int ranks) {
  int ends[2];
  pid_t child;
  if (ranks == 1) return 0;
  if (ranks != 2 || socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) return -1;
  if ((child = fork()) < 0) return -1;
  ranks_number = child == 0;
  ranks_line = ends[ranks_number];
  close(ends[!ranks_number]);
  return ranks_number;
}

static int ranks_move(char *bytes, size_t len, int out) {
  while (len > 0) {
    ssize_t moved = out ? write(ranks_line, bytes, len) : read(ranks_line, bytes, len);
    if (moved <= 0) return 1;
    bytes += moved;
    len -= (size_t)moved;
  }
  return 0;
}

static int ranks_sum(double *values, size_t count) {
  size_t i, len = count * sizeof *values;
  double *theirs;
  int failed;
  if (ranks_line < 0) return 0;
  if ((theirs = malloc(len)) == NULL) return 1;
  /* One writes while the other reads, then the other way round: however long it is, nobody waits for ever. */
  failed = ranks_move((char *)(ranks_number ? theirs : values), len, !ranks_number);
  failed |= ranks_move((char *)(ranks_number ? values : theirs), len, ranks_number);
  for (i = 0; i < count && !failed; i++) values[i] = values[i] + theirs[i];
  free(theirs);
  return failed;
}

static int ranks_end(int status) {
  int child = 0;
  if (ranks_line < 0) return status;
  close(ranks_line);
  if (ranks_number == 0) wait(&child);
  return status != 0 ? status : child != 0;
}

#endif
#endif
