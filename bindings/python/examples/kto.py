"""KTO from numpy, in four lines."""

import halo

loss = halo.Loss("kto", beta=0.1)
out = loss.evaluate(logp=[-20.0, -18.0], ref_logp=[-22.0, -17.0], label=[+1, -1], z0=0.3)
print(f"loss = {out.loss:.12g}, d loss / d logp = {out.d_logp}, rewards = {out.rewards}")
