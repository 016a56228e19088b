"""Faces in pictures and videos: found, followed, cropped, and put back where they were."""

from cyclegan_media.faces.detector import LANDMARKS, Face, FaceDetector, load_detector

__all__ = ["LANDMARKS", "Face", "FaceDetector", "load_detector"]
