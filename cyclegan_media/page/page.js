// Controls would hide half of a small clip: they come with the first click on it.
for (const clip of document.querySelectorAll("video")) {
  clip.controls = false;
  clip.tabIndex = 0;
  const start = (event) => {
    if (clip.controls || (event.type === "keydown" && event.key !== "Enter")) return;
    event.preventDefault();
    clip.controls = true;
    clip.muted = false;
    clip.play();
  };
  clip.addEventListener("click", start);
  clip.addEventListener("keydown", start);
}
// Clips of one row can be played in step; without scripts each still has its own controls.
for (const row of document.querySelectorAll(".row.video")) {
  const clips = [...row.querySelectorAll("video")];
  if (clips.length < 2) continue;
  const button = document.createElement("button");
  button.type = "button";
  const label = () => {
    button.textContent = clips.some((clip) => !clip.paused) ? "Pause" : "Play side by side";
  };
  button.addEventListener("click", () => {
    if (clips.some((clip) => !clip.paused)) {
      clips.forEach((clip) => clip.pause());
      return;
    }
    clips.forEach((clip, index) => {
      clip.currentTime = 0;
      clip.muted = index > 0; // one sound is enough
      clip.play();
    });
  });
  for (const clip of clips) for (const event of ["play", "pause"]) clip.addEventListener(event, label);
  label();
  row.before(button);
}
// Starting one recording stops the others.
document.addEventListener("play", (event) => {
  if (event.target.tagName !== "AUDIO") return;
  for (const other of document.querySelectorAll("audio")) if (other !== event.target) other.pause();
}, true);
