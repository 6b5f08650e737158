// From a file: page browsers start no worker. Here a hidden frame does its work, so that the search works from disk.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      frame.answer = data => this.dispatchEvent(new MessageEvent("message", { data }))
      frame.srcdoc = `<script>postMessage = data => frameElement.answer(data)</script><script src="${url}"></script>`
      this.started = new Promise(start => frame.addEventListener("load", () => start(frame.contentWindow)))
      document.body.append(frame)
    }
    async postMessage(data) {
      (await this.started).dispatchEvent(new MessageEvent("message", { data }))
    }
    terminate() {}
  }
}
