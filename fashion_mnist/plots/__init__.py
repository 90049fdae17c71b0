"""Pictures of a run, of its network, of two of these; what all charts share.

Each `…_figure` takes arrays and names; `png.write_png` makes a PNG file of what it returns. Pillow
draws what each run of a sweep has (`confusion`, `image_grid`); matplotlib, which takes a second to
import, draws charts (`run_charts`; `figure` for those of a leaderboard in `analysis`).
"""
