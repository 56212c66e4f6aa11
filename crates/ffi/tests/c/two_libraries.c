/* Two static libraries made with Rust in one program: both panic, each catches its own, and both go on. */
#include "gate.h"

int other_panics(void);

int main(void) {
  halo_error err;
  int round;
  HALO_INIT(err);
  for (round = 0; round < 2; round++) {
    fixture_open();
    CHECK(hooks());
    poison(fx.loss);
    CHECK(other_panics() == 1);
    fixture_close();
    fixture_open();
    CHECK(halo_loss_evaluate(fx.loss, &fx.host.batch, &fx.host.result, &err) == HALO_OK);
    fixture_close();
  }
  printf("two Rust libraries in one program caught a panic each\n");
  return 0;
}
