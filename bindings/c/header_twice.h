/* Nothing but the header, twice: it needs nothing before it and does not mind a second time. */
#include "halo.h"
#include "halo.h"
