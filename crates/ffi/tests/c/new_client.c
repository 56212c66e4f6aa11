/* A program of a newer header: it needs a function that the library at hand does not have yet. */
#include <stdio.h>

int halo_future_try(void);

int main(void) {
  printf("halo_future_try says %d\n", halo_future_try());
  return 0;
}
