"""The cards of the circuits with five kinds of feedback weights."""

from benchmarks.card import Card
from benchmarks.experiments.gle.pal.figures import draw_classification, draw_teacher
from benchmarks.experiments.gle.pal.model import ClassificationTraining, Mnist, YinYang, classification
from benchmarks.experiments.gle.pal.teacher import Teacher, TeacherTraining, teacher_student
from benchmarks.metric import Metric

METRICS = (
    Metric("angle_*", higher_is_better=False),
    Metric("validation_accuracy_*", higher_is_better=True),
    Metric("test_accuracy_*", higher_is_better=True),
)
WEIGHTS = (
    Metric("error_*", higher_is_better=False),
    *(Metric(f"{part}_*") for part in ("lower", "upper", "back")),
)

CARDS = (
    Card(
        name="gle-pal-teacher",
        config=Teacher,
        function=teacher_student,
        training=TeacherTraining,
        figures=draw_teacher,
        metrics=WEIGHTS,
    ),
    *(
        Card(
            name=name,
            config=config,
            function=classification,
            training=ClassificationTraining,
            figures=draw_classification,
            metrics=METRICS,
        )
        for name, config in (("gle-pal-yinyang", YinYang), ("gle-pal-mnist", Mnist))
    ),
)
"""None of these figures was printed as a number."""
