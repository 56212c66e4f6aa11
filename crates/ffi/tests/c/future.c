/* The newer library that new_client.c was linked to. */
int halo_future_try(void) {
  return 99;
}
