"""
Frames of video files and pages of PDFs, taken out in a process of their own: FFmpeg and PDFium are large
programs in C that read what strangers wrote. One that crashes, hangs or wants all memory there costs one
request, not the worker.
"""
