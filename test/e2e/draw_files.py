"""Makes the video and the PDF of the end-to-end tests in a directory: python draw_files.py DIRECTORY"""

import sys
from pathlib import Path

import av
from draw_pictures import moving_circle, red_circle, two_shapes, word


def main() -> None:
    directory = Path(sys.argv[1])
    with av.open(str(directory / "moving.mp4"), "w") as output:
        # Half a second apart, as the processor takes them; a camera's frames lie between.
        stream = output.add_stream("libx264", rate=8)
        stream.width, stream.height, stream.pix_fmt = 112, 112, "yuv444p"
        for frame in range(32):
            output.mux(stream.encode(av.VideoFrame.from_image(moving_circle(frame // 4))))
        output.mux(stream.encode())
    whole = (directory / "moving.mp4").read_bytes()
    (directory / "broken.mp4").write_bytes(whole[: len(whole) // 2])
    pages = [two_shapes(), word("GLIMPSE"), red_circle()]
    pages[0].save(directory / "pages.pdf", save_all=True, append_images=pages[1:], resolution=72, quality=95)
    pages[0].save(directory / "shapes.png")


if __name__ == "__main__":
    main()
