// A program of two files that both include the header: everything in it is inline.
#include "halo.hpp"
