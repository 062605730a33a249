"""`python -m portrait`, which `torchrun --module portrait` starts as well."""

from portrait.cli import main

main()
