"""Simulated rollouts: streams of requests in virtual time, counted as the prediction log counts, and judged as
`serinus.judge` judges. See docs/judge.md and decision record 0043."""
