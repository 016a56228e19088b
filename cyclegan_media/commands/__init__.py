"""The subcommands of ``cyclegan-media``, a module each.

Each has ``add(subparsers, common)``, which states its arguments, and ``run(args)``, which does the
work and returns the exit code. Heavy imports stand inside ``run``, so that ``--help`` is quick.
"""
