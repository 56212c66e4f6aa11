/* Handles that were freed, or that are of another library: debug builds know them by a word in their memory. */
#include "gate.h"

int main(void) {
  halo_error err;
  halo_loss *loss = NULL;
  halo_refpoint *point = NULL;
  uint64_t foreign[64];
  HALO_INIT(err);
  memset(foreign, 0, sizeof foreign);
  CHECK(halo_loss_new("kto", NULL, &loss, &err) == HALO_OK);
  halo_loss_free(loss);
  CHECK(halo_refpoint_of_loss(loss, &point, &err) == HALO_E_INVALID_ARGUMENT);
  CHECK(strstr(err.message, "was freed") != NULL && err.argument == 0 && point == NULL);
  halo_loss_free(loss);
  CHECK(halo_refpoint_of_loss((const halo_loss *)(void *)foreign, &point, &err) == HALO_E_INVALID_ARGUMENT);
  printf("a freed and a foreign handle are refused\n");
  return 0;
}
