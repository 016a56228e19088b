"""A small generator that imitates a large one: a teacher and frames → a student's model folder."""

from cyclegan_media.distill.learn import Settings
from cyclegan_media.distill.run import Distillation, Measured, distill
from cyclegan_media.distill.student import operations, student_spec

__all__ = ["Distillation", "Measured", "Settings", "distill", "operations", "student_spec"]
